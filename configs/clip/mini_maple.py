"""MaPLe: two prompts in the four layers of the text tower, and linear maps of them in the image tower.

Source: Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023, https://arxiv.org/abs/2210.03117.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds.
Cost:   100,096 trained parameters.

    python tools/train.py configs/clip/mini_maple.py
    python tools/experiment.py configs/clip/mini_maple.py --features work_dirs/features
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
        prompter=dict(type='CoupledPrompter'),
        mapping=dict(
            type='TextHead',
            tower=_base_.tower,
            prompter=dict(type='ContextPrompter', num_tokens=2, words='a photo of a', depth=4),
        ),
        tune=[],
    )
]
grid = {'optim_wrapper.optimizer.lr': [1e-3, 3e-3, 1e-2]}
optim_wrapper = dict(optimizer=dict(lr=3e-3))
