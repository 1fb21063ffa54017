"""VPT-deep: SETR-PUP on the mini ADE20K, ViT-mini pre-trained with supervision.

vptx:   mIoU 43.1 (42.3 to 43.8) in the test, three seeds, at lr 0.03, the best on validation of 0.003 to 0.1; heads
    alone 38.9: docs/segmentation.md#results-on-the-mini-ade20k has the table and its command
Cost:   67,660 trained parameters, 11,520 of them prompts.

python tools/train.py configs/seg/mini_vpt.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vit_mini.py',
    '../_base_/prompters/seg_deep.py',
    '../_base_/tasks/mini_ade.py',
    '../_base_/protocols/seg_mini.py',
    '../_base_/runtime_seg.py',
]
