"""VPT-shallow in CLIP's ViT-B/16, base to new: 4 prompts before the layers, classes by "a photo of a {}.".

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119, trained as the baselines of
        Khattak et al., "MaPLe", CVPR 2023, https://arxiv.org/abs/2210.03117: the prompts go through the norm before the
        layers. Different: single precision, no image is left out of an epoch, images are drawn by another generator.
Paper:  none for these data.
vptx:   not run yet.
Cost:   3,072 trained parameters; a prompt file of 0.01 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_vpt_shallow.py
    python tools/experiment.py configs/clip/vitb16_clip_vpt_shallow.py --tasks coop_dtd coop_eurosat
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
        prompter=dict(type='ShallowPrompter', num_tokens=4, init='normal', embedded=True),
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
        ),
        tune=[],
    )
]
train_dataloader = dict(batch_size=4)
