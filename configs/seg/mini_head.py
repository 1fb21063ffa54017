"""Heads alone: SETR-PUP on the mini ADE20K, ViT-mini pre-trained with supervision.

python tools/train.py configs/seg/mini_head.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vit_mini.py',
    '../_base_/prompters/seg_head.py',
    '../_base_/tasks/mini_ade.py',
    '../_base_/protocols/seg_mini.py',
    '../_base_/runtime_seg.py',
]
