"""VPT-shallow on the digits, ViT-mini pre-trained with supervision.

vptx: 70.9 % of the test images (69.7 to 71.5, three seeds), at lr 0.01; a linear probe: 61.1 %.

python tools/train.py configs/mini/digits_vpt_shallow.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/prompters/shallow.py',
    '../_base_/tasks/digits.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=1e-2))
