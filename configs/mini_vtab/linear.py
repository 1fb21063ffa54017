"""A linear probe on Mini-VTAB, ViT-mini pre-trained with supervision.

python tools/experiment.py configs/mini_vtab/linear.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/prompters/linear.py',
    '../_base_/tasks/mini_vtab.py',
    '../_base_/protocols/mini_vtab.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=1e-2))
final = dict(curve=3)
