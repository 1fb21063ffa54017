"""Heads alone: SETR-PUP on the mini ADE20K, ViT-mini pre-trained with supervision.

Ours:   mIoU 38.9 (37.5 to 40.2) over three seeds on the images to test with, at lr 0.03, the best of 0.003, 0.01 and
    0.03 on those to choose by: python tools/compare.py configs/seg/mini_head.py --out work_dirs/compare_seg
Cost:   56,140 trained numbers.

python tools/train.py configs/seg/mini_head.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vit_mini.py',
    '../_base_/prompters/seg_head.py',
    '../_base_/tasks/mini_ade.py',
    '../_base_/protocols/seg_mini.py',
    '../_base_/runtime_seg.py',
]
