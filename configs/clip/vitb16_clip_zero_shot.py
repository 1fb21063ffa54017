"""Zero-shot CLIP, base and new classes: ViT-B/16, classes by the template of each data set.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
        https://arxiv.org/abs/2103.00020; each data set has its own template, as in Zhou et al., IJCV 2022,
        https://arxiv.org/abs/2109.01134. Different: single precision.
Paper:  base 69.34, new 74.22, H 71.70 %, means of 11 data sets; on DTD 53.24, 59.90, 56.37.
vptx:   not run yet.
Cost:   0 trained parameters; a prompt file without tensors. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_zero_shot.py
    python tools/experiment.py configs/clip/vitb16_clip_zero_shot.py --tasks coop_dtd coop_eurosat
"""

_base_ = [
    '../_base_/clip/vit_b16.py',
    '../_base_/tasks/coop_base_to_new.py',
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
