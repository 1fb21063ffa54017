"""VPT-deep in CLIP's ViT-B/16, base to new: 8 prompts in each of the 12 layers, classes by "a photo of a {}.".

Source: Khattak et al., "MaPLe", CVPR 2023, https://arxiv.org/abs/2210.03117, and the configs of its repository: the
        first prompts go through the norm before the layers. Different: single precision, no image is left out of
        an epoch, images are drawn by another generator.
Paper:  base 80.24, new 73.43, H 76.68 %, means of 11 data sets.
vptx:   not run yet.
Cost:   73,728 trained parameters; a prompt file of 0.28 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_vpt_deep.py
    python tools/experiment.py configs/clip/vitb16_clip_vpt_deep.py --tasks coop_dtd coop_eurosat
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
        prompter=dict(type='DeepPrompter', num_tokens=8, init='normal', carry=True, embedded=True),
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
        ),
        tune=[],
    )
]
train_dataloader = dict(batch_size=4)
