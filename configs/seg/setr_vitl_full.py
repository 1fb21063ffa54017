"""Full fine-tuning: SETR-PUP on ADE20K, ViT-L/16, ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  mIoU 48.31, with several scales 50.07; 318.31 M trained.
vptx:   not run yet.
Cost:   317,291,096 trained parameters, 1.02 M fewer than the paper's. A classifier of 1,000 classes, which SETR does
    not use, has 1.03 M, so that may be it; with 0.04 M more in the heads, see setr_vitl_head.py, 0.98 M are left to
    explain. DA- VPT counts 317.3 M, as vptx does.

    python tools/train.py configs/seg/setr_vitl_full.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vitl.py',
    '../_base_/prompters/seg_full.py',
    '../_base_/tasks/ade20k.py',
    '../_base_/protocols/setr_160k.py',
    '../_base_/runtime_seg.py',
]
