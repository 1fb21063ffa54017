"""Full fine-tuning on Mini-VTAB, ViT-mini pre-trained with supervision.

python tools/experiment.py configs/mini_vtab/full.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/prompters/full.py',
    '../_base_/tasks/mini_vtab.py',
    '../_base_/protocols/mini_vtab.py',
    '../_base_/runtime.py',
]

# All of the network trains, at a hundredth of the head's rate.
grid = {'base_lr': [0.0001 * 256 / 20, 0.0003 * 256 / 20, 0.001 * 256 / 20]}

model = dict(head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
final = dict(curve=3)
