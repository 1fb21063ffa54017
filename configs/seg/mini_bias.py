"""Bias tuning: SETR-PUP on the mini ADE20K, ViT-mini pre-trained with supervision.

vptx:   mIoU 45.7 (44.5 to 46.7) in the test, three seeds, at lr 0.03, the best on validation of 0.003 to 0.1:
    docs/segmentation.md#results-on-the-mini-ade20k has the table and its command

python tools/train.py configs/seg/mini_bias.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vit_mini.py',
    '../_base_/prompters/seg_bias.py',
    '../_base_/tasks/mini_ade.py',
    '../_base_/protocols/seg_mini.py',
    '../_base_/runtime_seg.py',
]

# Biases need larger steps than whole matrices.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.3))))
