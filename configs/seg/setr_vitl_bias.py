"""Bias tuning: SETR-PUP on ADE20K, ViT-L/16, ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  mIoU 43.40, with several scales 45.33; 13.46 M trained.
vptx:   not run yet.
Cost:   13,415,000 trained parameters, 271,360 of them biases of the network; 0.05 M fewer than the paper's: 0.04 M are
    in the heads, see setr_vitl_head.py; the rest is what the final norm and a classifier of 1,000 classes, which SETR
    does not use, have of biases.

    python tools/train.py configs/seg/setr_vitl_bias.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vitl.py',
    '../_base_/prompters/seg_bias.py',
    '../_base_/tasks/ade20k.py',
    '../_base_/protocols/setr_160k.py',
    '../_base_/runtime_seg.py',
]
