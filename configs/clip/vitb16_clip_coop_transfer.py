"""CoOp, from ImageNet to other data: CLIP's ViT-B/16, 4 learnt words that start as "a photo of a".

Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, https://arxiv.org/abs/2109.01134, and
        the comparison in Zhou et al., CVPR 2022, https://arxiv.org/abs/2203.05557. Different: single precision, no
        image is left out of an epoch, images are drawn by another generator.
Paper:  ImageNet 71.51 %, mean of the ten other data sets 63.88, of V2, Sketch, A and R 59.28.
vptx:   not run yet.
Cost:   2,048 trained parameters; a prompt file of 0.01 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_coop_transfer.py
    python tools/experiment.py configs/clip/vitb16_clip_coop_transfer.py
"""

_base_ = [
    '../_base_/clip/vit_b16.py',
    '../_base_/tasks/coop_transfer.py',
    '../_base_/protocols/clip_coop_50.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
            prompter=dict(type='ContextPrompter', words='a photo of a'),
        ),
        tune=[],
    )
]
