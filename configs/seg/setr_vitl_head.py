"""Heads alone: SETR-PUP on ADE20K, ViT-L/16, ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  mIoU 35.12, with several scales 37.46; 13.18 M trained.
vptx:   not run yet.
Cost:   13,143,640 trained parameters, 0.04 M fewer than the paper's: one classifier of 150 classes is 0.04 M, what the
    heads of today's mmsegmentation, 13.14 M, are short of the paper's.

    python tools/train.py configs/seg/setr_vitl_head.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vitl.py',
    '../_base_/prompters/seg_head.py',
    '../_base_/tasks/ade20k.py',
    '../_base_/protocols/setr_160k.py',
    '../_base_/runtime_seg.py',
]
