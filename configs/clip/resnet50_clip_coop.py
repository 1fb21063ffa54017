"""CoOp, 1 to 16 images of each class: CLIP's ResNet-50, 16 learnt words before the name.

Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, https://arxiv.org/abs/2109.01134.
        Different: single precision, no image is left out of an epoch, images are drawn by another generator.
Paper:  ImageNet 57.15, 57.81, 59.99, 61.56, 62.95 % with 1, 2, 4, 8, 16 images of each class; Caltech101 92.00 with 16.
vptx:   not run yet.
Cost:   8,192 trained parameters; a prompt file of 0.03 MB. Time not measured.

    python tools/train.py configs/clip/resnet50_clip_coop.py
    python tools/experiment.py configs/clip/resnet50_clip_coop.py --tasks coop_dtd coop_caltech101
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
        mapping=dict(
            type='TextHead',
            tower=dict(model='RN50-quickgelu', pretrained='openai'),
            prompter=dict(type='ContextPrompter', num_tokens=16),
        ),
        tune=[],
    )
]
