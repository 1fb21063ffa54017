"""Convpass on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Jie and Deng, "Convolutional Bypasses Are Better Vision Transformer Adapters", 2022,
        https://arxiv.org/abs/2207.07039
Paper:  76.6 %, mean of the three groups, as reprinted.
Choice: the best epoch on the test images, of every tenth; scale and initial convolution of each task as well; one seed.
vptx:   not run yet.
Cost:   404,452 trained parameters, 76,900 of them the head; a prompt file of 1.62 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_convpass.py
    python tools/experiment.py configs/vtab/vitb16_in21k_convpass.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/convpass.py',
    '../_base_/tasks/vtab_bicubic.py',
    '../_base_/protocols/adapter_plus.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.004 * 64 / 256))
