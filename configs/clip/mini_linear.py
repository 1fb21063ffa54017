"""A linear probe on CLIP-mini's image tower: a classifier on the class token, without the text tower.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
        https://arxiv.org/abs/2103.00020. It reads the class token before the projection.
Paper:  none for these data.
vptx:   docs/clip_mini.md, three seeds. It knows no new classes.
Cost:   3,860 trained parameters.

    python tools/train.py configs/clip/mini_linear.py
    python tools/experiment.py configs/clip/mini_linear.py --features work_dirs/features
"""

_base_ = [
    '../_base_/nets/clip_mini.py',
    '../_base_/prompters/linear.py',
    '../_base_/tasks/mini_relief.py',
    '../_base_/protocols/clip_mini_shots.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=20))
grid = {'optim_wrapper.optimizer.lr': [3e-3, 1e-2, 3e-2]}
optim_wrapper = dict(optimizer=dict(lr=1e-2))
