"""Rein: SETR-PUP on ADE20K, ViT-L/14 of DINOv2.

Source: Wei et al., "Stronger, Fewer, & Superior" (Rein), CVPR 2024, https://arxiv.org/abs/2312.04265
Paper:  none on ADE20K. From GTA to Cityscapes with Mask2Former 66.7 % mIoU; a user's rerun finds the frozen network
    about one point below Rein, not three.
Choice: the last of 40,000 iterations; AdamW, 0.0001, weight decay 0.05 (none on tokens, scale and norms), batch 4.
vptx:   not run yet; the schedule is that of all methods here.
Cost:   15,674,457 trained parameters.

    python tools/train.py configs/seg/setr_dinov2_vitl_rein.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_dinov2_vitl.py',
    '../_base_/prompters/seg_rein.py',
    '../_base_/tasks/ade20k.py',
    '../_base_/protocols/setr_160k.py',
    '../_base_/runtime_seg.py',
]
