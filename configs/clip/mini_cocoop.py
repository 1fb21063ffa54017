"""CoCoOp: four learnt words, shifted by what a small network makes of the image.

Source: Zhou et al., "Conditional Prompt Learning for Vision-Language Models", CVPR 2022,
        https://arxiv.org/abs/2203.05557. Different: batches of 32, not of one image.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds.
Cost:   3,530 trained parameters.

    python tools/train.py configs/clip/mini_cocoop.py
    python tools/experiment.py configs/clip/mini_cocoop.py --features work_dirs/features
"""

_base_ = [
    '../_base_/clip/clip_mini.py',
    '../_base_/tasks/mini_relief.py',
    '../_base_/protocols/clip_mini.py',
    '../_base_/runtime_clip.py',
]

custom_hooks = [
    dict(
        type='PromptTuningHook',
        mapping=dict(
            type='TextHead',
            tower=_base_.tower,
            prompter=dict(type='ConditionalContextPrompter', words='a photo of a'),
        ),
        tune=[],
    )
]
grid = {'optim_wrapper.optimizer.lr': [1e-3, 4e-3, 1.6e-2]}
optim_wrapper = dict(optimizer=dict(lr=4e-3))
