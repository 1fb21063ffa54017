"""CoOp, base to new, 16 images of each base class: CLIP's ViT-B/16, 4 learnt words that start as "a photo of a".

Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, https://arxiv.org/abs/2109.01134, with
        the settings of the comparison in Zhou et al., CVPR 2022, https://arxiv.org/abs/2203.05557: 4 words, 200 epochs.
        Different: single precision, no image is left out of an epoch, images are drawn by another generator.
Paper:  base 82.69, new 63.22, H 71.66 %, means of 11 data sets; on DTD 79.44, 41.18, 54.24. KgCoOp's authors have
        82.63, 67.99, 74.60 for the same method.
vptx:   not run yet.
Cost:   2,048 trained parameters; a prompt file of 0.01 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_coop.py
    python tools/experiment.py configs/clip/vitb16_clip_coop.py --tasks coop_dtd coop_eurosat
"""

_base_ = [
    '../_base_/clip/vit_b16.py',
    '../_base_/tasks/coop_base_to_new.py',
    '../_base_/protocols/clip_coop.py',
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
