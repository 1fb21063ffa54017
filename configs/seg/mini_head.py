"""Heads alone: SETR-PUP on the mini ADE20K, ViT-mini pre-trained with supervision.

vptx:   mIoU 38.9 (37.5 to 40.2) in the test, three seeds, at lr 0.03, the best on validation of 0.003 to 0.1:
    docs/segmentation.md#results-on-the-mini-ade20k has the table and its command
Cost:   56,140 trained parameters.

python tools/train.py configs/seg/mini_head.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vit_mini.py',
    '../_base_/prompters/seg_head.py',
    '../_base_/tasks/mini_ade.py',
    '../_base_/protocols/seg_mini.py',
    '../_base_/runtime_seg.py',
]
