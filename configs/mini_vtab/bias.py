"""Biases on Mini-VTAB, ViT-mini pre-trained with supervision.

python tools/experiment.py configs/mini_vtab/bias.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/prompters/bias.py',
    '../_base_/tasks/mini_vtab.py',
    '../_base_/protocols/mini_vtab.py',
    '../_base_/runtime.py',
]

# Parameters of the network take a tenth of the head's rate.
grid = {'base_lr': [0.001 * 256 / 20, 0.003 * 256 / 20, 0.01 * 256 / 20]}

model = dict(head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
final = dict(curve=3)
