"""PromptSRC: four prompts in four layers of either tower, pulled to the frozen towers and averaged.

Source: Khattak et al., "Self-regulating Prompts: Foundational Model Adaptation without Forgetting", ICCV 2023,
        https://arxiv.org/abs/2307.06948. The published weights of the pulls; the average has its peak at three
        quarters of the epochs, as published. Features of the names are those of six templates.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds.
Cost:   5,120 trained parameters.

    python tools/train.py configs/clip/mini_promptsrc.py
    python tools/experiment.py configs/clip/mini_promptsrc.py --features work_dirs/features
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
        prompter=dict(type='DeepPrompter', num_tokens=4, layers=list(range(4)), init='normal', embedded=True),
        mapping=dict(
            type='TextHead',
            tower=_base_.tower,
            pulls=[
                dict(type='TextPull', weight=25.0, distance='l1', template=_base_.templates, average='raw'),
                dict(type='ImagePull', weight=10.0, distance='l1'),
                dict(type='LogitPull', weight=1.0, template=_base_.templates, average='raw'),
            ],
            prompter=dict(type='ContextPrompter', num_tokens=4, words='a photo of a', depth=4),
        ),
        tune=[],
    ),
    dict(type='GaussianAverageHook', mean=4.5, std=1.0),
]
grid = {'optim_wrapper.optimizer.lr': [1e-3, 3e-3, 1e-2]}
optim_wrapper = dict(optimizer=dict(lr=3e-3))
variants = {
    '1_shots': {'custom_hooks.1.mean': 22.5, 'custom_hooks.1.std': 3.0},
    '4_shots': {'custom_hooks.1.mean': 11.25, 'custom_hooks.1.std': 1.5},
}
