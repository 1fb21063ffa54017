"""VPT-deep: SETR-PUP on PASCAL Context, ViT-L/16, ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  none; DA-VPT (https://arxiv.org/abs/2505.23694) has 49.51 for VPT, 46.06 for heads alone, 53.69 for full fine-
    tuning, of 59 or 60 classes.
vptx:   not run yet.
Cost:   13,296,880 trained parameters, 245,760 of them prompts.

    python tools/train.py configs/seg/setr_vitl_context_vpt.py
"""

_base_ = [
    '../_base_/segmentors/setr_pup_vitl.py',
    '../_base_/prompters/seg_deep.py',
    '../_base_/tasks/pascal_context.py',
    '../_base_/protocols/setr_160k.py',
    '../_base_/runtime_seg.py',
]

aux = dict(_base_.aux, num_classes=60)
model = dict(
    decode_head=dict(num_classes=60),
    auxiliary_head=[dict(aux, in_index=0), dict(aux, in_index=1), dict(aux, in_index=2)],
)
