"""E^2VPT on the digits, the second of two trainings: what the first found unimportant is pruned, the rest starts again.

Source: Han et al., "E^2VPT", ICCV 2023, https://arxiv.org/abs/2307.13770, section 3.3
Choice: the shares, on validation: up to nine of prompts times nine of segments in the public code.
vptx: not run yet.

python tools/train.py configs/mini/digits_e2vpt.py
python tools/train.py configs/mini/digits_e2vpt_pruned.py
python tools/experiment.py configs/mini/digits_e2vpt_pruned.py      # chooses the shares
"""

_base_ = ['./digits_e2vpt.py']

custom_hooks = [
    *_base_.custom_hooks,
    dict(type='PruningHook', first='work_dirs/digits_e2vpt/prompt.safetensors', tokens=0.2, segments=0.3),
]
grid = {
    'optim_wrapper.optimizer.lr': [3e-3],
    'custom_hooks.1.tokens': [0.1, 0.3, 0.5],
    'custom_hooks.1.segments': [0.1, 0.3, 0.5],
}
