"""Prefix tuning on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Li and Liang, "Prefix-Tuning", ACL 2021, https://arxiv.org/abs/2101.00190
Paper:  none on images.
Choice: nothing to follow; the grid of VPT, on validation images.
vptx:   not run yet.
Cost:   169,060 trained parameters, 76,900 of them the head; a prompt file of 0.68 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_prefix.py
    python tools/experiment.py configs/vtab/vitb16_in21k_prefix.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/prefix.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=5.0 * 128 / 256))
