"""PromptSRC, base to new: CLIP's ViT-B/16, 4 prompts in 9 layers of either tower.

Source: Khattak et al., "Self-regulating Prompts: Foundational Model Adaptation without Forgetting", ICCV 2023,
        https://arxiv.org/abs/2307.06948, and the configs of its repository: 4 + 4 prompts, pulled to the frozen towers,
        and averaged over epochs.
        Different: the average is of the prompts alone, in the public code of the frozen weights, too; the 80 templates
        of CLIP's authors, as it has not been derived which 60 the public code has; single precision, no image is left
        out of an epoch, images are drawn by another generator.
Paper:  base 84.26, new 76.10, H 79.97 %, means of 11 data sets; on DTD 83.37, 62.97, 71.75.
vptx:   not run yet.
Cost:   46,080 trained parameters; a prompt file of 0.18 MB. Time not measured.

    python tools/train.py configs/clip/vitb16_clip_promptsrc.py
    python tools/experiment.py configs/clip/vitb16_clip_promptsrc.py --tasks coop_dtd coop_eurosat
"""

_base_ = [
    '../_base_/clip/vit_b16.py',
    '../_base_/tasks/coop_base_to_new.py',
    '../_base_/protocols/clip_promptsrc.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        prompter=dict(type='DeepPrompter', num_tokens=4, layers=list(range(9)), init='normal', embedded=True),
        mapping=dict(
            type='TextHead',
            tower=dict(model='ViT-B-16-quickgelu', pretrained='openai'),
            prompter=dict(type='ContextPrompter', num_tokens=4, words='a photo of a', depth=9),
            pulls=[
                dict(type='TextPull', weight=25.0, distance='l1', template='imagenet', average='raw'),
                dict(type='ImagePull', weight=10.0, distance='l1'),
                dict(type='LogitPull', weight=1.0, template='imagenet', average='raw'),
            ],
        ),
        tune=[],
    ),
    dict(type='GaussianAverageHook', mean=15.0, std=1.0),
]
train_dataloader = dict(batch_size=4)
