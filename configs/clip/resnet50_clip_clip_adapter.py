"""CLIP-Adapter, 1 to 16 images of each class: CLIP's ResNet-50, a small network on the image's embedding.

Source: Gao et al., "CLIP-Adapter: Better Vision-Language Models with Feature Adapters", IJCV 2024,
        https://arxiv.org/abs/2110.04544: the adapter of the image side, r = 0.2, trained by the recipe of CoOp, in
        whose code the authors' trainer runs. Each data set has its own template.
        Different: single precision, no image is left out of an epoch, images are drawn by another generator; the last
        epoch counts.
Paper:  ImageNet 61.20, 61.52, 61.84, 62.68, 63.59 % with 1, 2, 4, 8, 16 images of each class; DTD 65.96 with 16.
        From Tip-Adapter's paper and the log in its repository, chosen there by test accuracy.
vptx:   not run yet.
Cost:   524,288 trained parameters; a prompt file of 2.10 MB. Time not measured.

    python tools/train.py configs/clip/resnet50_clip_clip_adapter.py
    python tools/experiment.py configs/clip/resnet50_clip_clip_adapter.py --tasks coop_dtd coop_caltech101
"""

_base_ = [
    '../_base_/clip/resnet50.py',
    '../_base_/tasks/coop.py',
    '../_base_/protocols/clip_coop_shots.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        mapping=dict(type='CLIPAdapterHead', tower=dict(model='RN50-quickgelu', pretrained='openai')),
        tune=[],
    )
]
default_hooks = dict(class_names=dict(type='ClassNamesHook', templates=True))
