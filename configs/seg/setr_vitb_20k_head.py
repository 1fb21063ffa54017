"""Heads alone: SETR-PUP on ADE20K in 20,000 iterations, ViT-B/16, ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  none with this network: a short schedule, to compare methods by.
vptx:   not run yet.
Cost:   10,782,296 trained parameters.

    python tools/train.py configs/seg/setr_vitb_20k_head.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vitb.py',
    '../_base_/prompters/seg_head.py',
    '../_base_/tasks/ade20k.py',
    '../_base_/protocols/setr_20k.py',
    '../_base_/runtime_seg.py',
]
