"""CoOp: four learnt words before the name.

Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, https://arxiv.org/abs/2109.01134.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds.
Cost:   512 trained parameters.

    python tools/train.py configs/clip/mini_coop.py
    python tools/experiment.py configs/clip/mini_coop.py --features work_dirs/features
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
            prompter=dict(type='ContextPrompter', words='a photo of a'),
        ),
        tune=[],
    )
]
grid = {'optim_wrapper.optimizer.lr': [4e-3, 1.6e-2, 6.4e-2]}
optim_wrapper = dict(optimizer=dict(lr=1.6e-2))
