"""VPT-deep: SETR-PUP on the mini ADE20K, ViT-mini pre-trained with supervision.

Ours:   mIoU 43.2 with one seed (of three to come) on the images to test with, where heads alone have 39.0, both at
    lr 0.03, the best of 0.003, 0.01 and 0.03 on those to choose by:
    python tools/compare.py configs/seg/mini_head.py configs/seg/mini_vpt.py --out work_dirs/compare_seg
Cost:   67,660 trained numbers, 11,520 of them prompts.

python tools/train.py configs/seg/mini_vpt.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vit_mini.py',
    '../_base_/prompters/seg_deep.py',
    '../_base_/tasks/mini_ade.py',
    '../_base_/protocols/seg_mini.py',
    '../_base_/runtime_seg.py',
]
