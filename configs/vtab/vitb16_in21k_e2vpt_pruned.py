"""E^2VPT on VTAB-1k, the second of two trainings: prompts and segments that the first found unimportant are pruned.

Source: Han et al., "E^2VPT", ICCV 2023, https://arxiv.org/abs/2307.13770
Paper:  73.94 %, mean of the three groups.
Choice: the rates of VPT on 200 validation images in a first training; then up to nine shares of prompts times nine of
        segments, each a training of 100 epochs, again on these; batch 64, the last epoch, five fixed seeds.
vptx:   not run yet.
Cost:   215,310 trained parameters less what is pruned. The first training's prompt file is named for each task:

    python tools/train.py configs/vtab/vitb16_in21k_e2vpt.py
    python tools/train.py configs/vtab/vitb16_in21k_e2vpt_pruned.py
"""

_base_ = ['./vitb16_in21k_e2vpt.py']

custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='PruningHook',
        first='work_dirs/vitb16_in21k_e2vpt/prompt.safetensors',
        tokens=0.2,
        segments=0.3,
        signed=True,  # as in the public code
    ),
]
# The rate is that of the first training.
grid = dict(_delete_=True, base_lr=[5.0])
method_grid = {
    'custom_hooks.1.tokens': [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
    'custom_hooks.1.segments': [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
}
