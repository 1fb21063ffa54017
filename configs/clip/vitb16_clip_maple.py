"""MaPLe, base to new: CLIP's ViT-B/16, 2 coupled prompts in 9 layers of either tower.

Source: Khattak et al., "MaPLe", CVPR 2023, https://arxiv.org/abs/2210.03117, and the configs of its repository.
        Different: single precision, no image is left out of an epoch, images are drawn by another generator.
Paper:  base 82.28, new 75.14, H 78.55 %, means of 11 data sets; on DTD 80.36, 59.18, 68.16.
vptx:   not run yet.
Cost:   3,555,072 trained parameters; a prompt file of 14.22 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_maple.py
    python tools/experiment.py configs/clip/vitb16_clip_maple.py --tasks coop_dtd coop_eurosat
"""

_base_ = [
    '../_base_/clip/vit_b16.py',
    '../_base_/tasks/coop_base_to_new.py',
    '../_base_/protocols/clip_maple.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='CoupledPrompter'),
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
            prompter=dict(type='ContextPrompter', num_tokens=2, words='a photo of a', depth=9),
        ),
        tune=[],
    )
]
train_dataloader = dict(batch_size=4)
