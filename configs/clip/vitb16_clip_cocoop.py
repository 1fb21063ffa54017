"""CoCoOp, base to new, 16 images of each base class: CLIP's ViT-B/16, 4 learnt words that the image shifts.

Source: Zhou et al., "Conditional Prompt Learning for Vision-Language Models", CVPR 2022,
        https://arxiv.org/abs/2203.05557: 10 epochs of batch 1, words that start as "a photo of a".
        Different: single precision, images are drawn by another generator.
Paper:  base 80.47, new 71.69, H 75.83 %, means of 11 data sets; on DTD 77.01, 56.00, 64.85.
vptx:   not run yet.
Cost:   35,360 trained parameters; a prompt file of 0.14 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_cocoop.py
    python tools/experiment.py configs/clip/vitb16_clip_cocoop.py --tasks coop_dtd coop_eurosat
"""

_base_ = [
    '../_base_/clip/vit_b16.py',
    '../_base_/tasks/coop_base_to_new.py',
    '../_base_/protocols/clip_cocoop.py',
    '../_base_/runtime_clip.py',
]

train_dataloader = dict(batch_size=1)
custom_hooks = [
    dict(
        type='PromptTuningHook',
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
            prompter=dict(type='ConditionalContextPrompter', words='a photo of a'),
        ),
        tune=[],
    )
]
