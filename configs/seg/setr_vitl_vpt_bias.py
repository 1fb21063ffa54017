"""VPT-deep and bias: SETR-PUP on ADE20K, ViT-L/16, ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  mIoU 44.04, with several scales 45.63; 15.79 M trained.
vptx:   not run yet.
Cost:   15,872,600 trained parameters, 2,457,600 of them prompts, 271,360 biases; 0.08 M more than the paper's, which
    has 0.04 M more in the heads, see setr_vitl_head.py, and so 0.12 M less elsewhere: 15.79 M is what prompts and heads
    make with 6 * 1,024 of the 11 * 1,024 biases of a layer, those of its MLP and attention projection, say. The paper
    does not explain it.

    python tools/train.py configs/seg/setr_vitl_vpt_bias.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vitl.py',
    '../_base_/prompters/seg_deep_bias.py',
    '../_base_/tasks/ade20k.py',
    '../_base_/protocols/setr_160k.py',
    '../_base_/runtime_seg.py',
]
