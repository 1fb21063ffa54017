"""Mona: UperNet on ADE20K, Swin-B, ImageNet-22k.

Source: Yin et al., "5%>100%" (Mona), CVPR 2025, https://arxiv.org/abs/2408.08345
Paper:  51.36 % mIoU with Swin-L; full fine-tuning, in V-PETL Bench, 52.10. None with Swin-B.
Choice: unknown. Their code freezes by name, so the norms of the maps stay at their initial 1 and 0, and the frozen Swin
    keeps its drop path of 0.2; here these norms train, and what is frozen is in eval mode.
vptx:   not run yet; the schedule is that of all methods here.
Cost:   38,205,996 trained parameters.

    python tools/train.py configs/seg/upernet_swinb_mona.py
"""

_base_ = [
    '../_base_/segmentors/upernet_swinb.py',
    '../_base_/prompters/seg_mona.py',
    '../_base_/tasks/ade20k.py',
    '../_base_/protocols/setr_160k.py',
    '../_base_/runtime_seg.py',
]
