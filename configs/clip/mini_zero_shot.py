"""CLIP-mini's zero-shot answers: class names by one template, nothing trains.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
        https://arxiv.org/abs/2103.00020.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds.
Cost:   0 trained parameters.

    python tools/train.py configs/clip/mini_zero_shot.py
    python tools/experiment.py configs/clip/mini_zero_shot.py --features work_dirs/features
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
        ),
        tune=[],
    )
]
grid = {'optim_wrapper.optimizer.lr': [1e-2]}  # nothing trains
final = dict(seeds=[42])  # and nothing is drawn
