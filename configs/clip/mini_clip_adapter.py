"""CLIP-Adapter: a small network on the image's embedding.

Source: Gao et al., "CLIP-Adapter: Better Vision-Language Models with Feature Adapters", IJCV 2024,
        https://arxiv.org/abs/2110.04544.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds.
Cost:   12,800 trained parameters.

    python tools/train.py configs/clip/mini_clip_adapter.py
    python tools/experiment.py configs/clip/mini_clip_adapter.py --features work_dirs/features
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
            type='CLIPAdapterHead',
            tower=_base_.tower,
        ),
        tune=[],
    )
]
grid = {'optim_wrapper.optimizer.lr': [1e-3, 3e-3, 1e-2]}
optim_wrapper = dict(optimizer=dict(lr=3e-3))
