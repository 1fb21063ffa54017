"""MaPLe, from ImageNet to other data: CLIP's ViT-B/16, 2 coupled prompts in 3 layers of either tower.

Source: Khattak et al., "MaPLe", CVPR 2023, https://arxiv.org/abs/2210.03117, and the configs of its repository.
        Different: single precision, no image is left out of an epoch, images are drawn by another generator.
Paper:  ImageNet 70.72 %, mean of the ten other data sets 66.30, of V2, Sketch, A and R 60.27.
vptx:   not run yet.
Cost:   1,185,024 trained parameters; a prompt file of 4.74 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_maple_transfer.py
    python tools/experiment.py configs/clip/vitb16_clip_maple_transfer.py
"""

_base_ = [
    '../_base_/clip/vit_b16.py',
    '../_base_/tasks/coop_transfer.py',
    '../_base_/protocols/clip_maple_transfer.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='CoupledPrompter'),
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
            prompter=dict(type='ContextPrompter', num_tokens=2, words='a photo of a', depth=3),
        ),
        tune=[],
    )
]
train_dataloader = dict(batch_size=4)
