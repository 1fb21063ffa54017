"""E^2VPT on the digits, the first of two trainings, ViT-mini pre-trained with supervision.

Factors of prompts and of their segments train; digits_e2vpt_pruned.py prunes by them.
vptx: not run yet.

python tools/train.py configs/mini/digits_e2vpt.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/prompters/e2vpt.py',
    '../_base_/tasks/digits.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
