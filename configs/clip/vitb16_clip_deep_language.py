"""Deep language prompts in CLIP's ViT-B/16, base to new: 4 in each of the 12 layers of the text tower.

Source: Khattak et al., "MaPLe", CVPR 2023, https://arxiv.org/abs/2210.03117, and the configs of its repository.
        Different: single precision, no image is left out of an epoch, images are drawn by another generator.
Paper:  base 81.72, new 73.81, H 77.56 %, means of 11 data sets.
vptx:   not run yet.
Cost:   24,576 trained parameters; a prompt file of 0.09 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_deep_language.py
    python tools/experiment.py configs/clip/vitb16_clip_deep_language.py --tasks coop_dtd coop_eurosat
"""

_base_ = [
    '../_base_/clip/vit_b16.py',
    '../_base_/tasks/coop_base_to_new.py',
    '../_base_/protocols/clip_vpt.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
            prompter=dict(type='ContextPrompter', words='a photo of a', depth=12),
        ),
        tune=[],
    )
]
train_dataloader = dict(batch_size=4)
