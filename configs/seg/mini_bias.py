"""Bias tuning: SETR-PUP on the mini ADE20K, ViT-mini pre-trained with supervision.

python tools/train.py configs/seg/mini_bias.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vit_mini.py',
    '../_base_/prompters/seg_bias.py',
    '../_base_/tasks/mini_ade.py',
    '../_base_/protocols/seg_mini.py',
    '../_base_/runtime_seg.py',
]

# Biases are few, and have farther to go than whole matrices.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
