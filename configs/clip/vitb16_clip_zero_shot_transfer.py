"""Zero-shot CLIP on ImageNet and other data: ViT-B/16, classes by the template of each data set.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
        https://arxiv.org/abs/2103.00020; each data set has its own template, as in Zhou et al., IJCV 2022,
        https://arxiv.org/abs/2109.01134. Different: single precision.
Paper:  ImageNet 66.72 %, mean of the ten other data sets 65.15, of V2, Sketch, A and R 57.18.
vptx:   not run yet.
Cost:   0 trained parameters; a prompt file without tensors. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_zero_shot_transfer.py
    python tools/experiment.py configs/clip/vitb16_clip_zero_shot_transfer.py
"""

_base_ = [
    '../_base_/clip/vit_b16.py',
    '../_base_/tasks/coop_transfer.py',
    '../_base_/protocols/clip_zero_shot.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
        ),
        tune=[],
    )
]
default_hooks = dict(class_names=dict(type='ClassNamesHook', templates=True))
