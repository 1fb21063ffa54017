"""Mona on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Yin et al., "5%>100%", CVPR 2025, https://arxiv.org/abs/2408.08345
Paper:  none on VTAB-1k: it is made for dense tasks.
Choice: nothing to follow here.
vptx:   not run yet.
Cost:   2,761,828 trained parameters, 76,900 of them the head; a prompt file of 11.05 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_mona.py
    python tools/experiment.py configs/vtab/vitb16_in21k_mona.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/mona.py',
    '../_base_/tasks/vtab_bicubic.py',
    '../_base_/protocols/adapter_plus.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.004 * 64 / 256))
