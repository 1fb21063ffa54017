"""VPT-deep: SETR-Naive on ADE20K, ViT-L/16, ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  none with this head; 42.11 with SETR-PUP.
vptx:   not run yet.
Cost:   1,656,920 trained parameters, 245,760 of them prompts.

    python tools/train.py configs/seg/setr_naive_vitl_vpt.py
"""

_base_ = [
    '../_base_/segmentors/setr_naive_vitl.py',
    '../_base_/prompters/seg_deep.py',
    '../_base_/tasks/ade20k.py',
    '../_base_/protocols/setr_160k.py',
    '../_base_/runtime_seg.py',
]
