"""Zero-shot CLIP: ResNet-50, classes by the template of each data set.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
        https://arxiv.org/abs/2103.00020; each data set has its own template, as in Zhou et al., IJCV 2022,
        https://arxiv.org/abs/2109.01134. Different: single precision.
Paper:  DTD 42.20, Caltech101 85.92, EuroSAT 37.52 %, in the log of Tip-Adapter, https://arxiv.org/abs/2111.03930.
vptx:   not run yet.
Cost:   0 trained parameters; a prompt file without tensors. Time not measured.

    python tools/train.py configs/clip/resnet50_clip_zero_shot.py
    python tools/experiment.py configs/clip/resnet50_clip_zero_shot.py --tasks coop_dtd coop_caltech101
"""

_base_ = [
    '../_base_/clip/resnet50.py',
    '../_base_/tasks/coop.py',
    '../_base_/protocols/clip_zero_shot.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        mapping=dict(
            type='TextHead',
            tower=dict(model='RN50-quickgelu', pretrained='openai'),
        ),
        tune=[],
    )
]
default_hooks = dict(class_names=dict(type='ClassNamesHook', templates=True))
