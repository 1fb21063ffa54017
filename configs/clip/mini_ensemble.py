"""Zero-shot with six templates, whose features are averaged; nothing trains.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
        https://arxiv.org/abs/2103.00020, which averages 80
        templates. These six are words of the captions that CLIP-mini was trained with.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds.
Cost:   0 trained parameters.

    python tools/train.py configs/clip/mini_ensemble.py
    python tools/experiment.py configs/clip/mini_ensemble.py --features work_dirs/features
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
            template=_base_.templates,
        ),
        tune=[],
    )
]
grid = {'optim_wrapper.optimizer.lr': [1e-2]}  # nothing trains
final = dict(seeds=[42])  # and nothing is drawn
