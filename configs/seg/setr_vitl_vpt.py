"""VPT-deep: SETR-PUP on ADE20K, ViT-L/16, ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  mIoU 42.11, with several scales 44.06; 13.43 M trained. DA-VPT's rerun (https://arxiv.org/abs/2505.23694): 44.08
    and 46.01.
vptx:   not run yet.
Cost:   13,389,400 trained parameters, 245,760 of them prompts; 0.04 M fewer than the paper's: they are in the heads,
    see setr_vitl_head.py.

    python tools/train.py configs/seg/setr_vitl_vpt.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vitl.py',
    '../_base_/prompters/seg_deep.py',
    '../_base_/tasks/ade20k.py',
    '../_base_/protocols/setr_160k.py',
    '../_base_/runtime_seg.py',
]
