"""KgCoOp: four learnt words, pulled to the features of the template.

Source: Yao et al., "Visual-Language Prompt Tuning with Knowledge-guided Context Optimization", CVPR 2023,
        https://arxiv.org/abs/2303.13283. The published weight of the pull, 8.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds.
Cost:   512 trained parameters.

    python tools/train.py configs/clip/mini_kgcoop.py
    python tools/experiment.py configs/clip/mini_kgcoop.py --features work_dirs/features
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
            pulls=[dict(type='TextPull', weight=8.0, distance='cosine')],
            prompter=dict(type='ContextPrompter', words='a photo of a'),
        ),
        tune=[],
    )
]
grid = {'optim_wrapper.optimizer.lr': [4e-3, 1.6e-2, 6.4e-2]}
optim_wrapper = dict(optimizer=dict(lr=1.6e-2))
