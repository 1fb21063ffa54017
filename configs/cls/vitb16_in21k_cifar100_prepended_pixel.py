"""Prepended pixel prompts on CIFAR-100, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  none on CIFAR-100; in figure 5 6.9 points behind VPT-shallow on VTAB-1k's natural group.
vptx:   not run yet. The learning rate is a guess from their grid, to be chosen on the validation split.
Cost:   115,300 trained parameters, 76,900 of them the head; a prompt file of 0.44 MB. Time not measured.

    python tools/train.py configs/cls/vitb16_in21k_cifar100_prepended_pixel.py
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/prepended_pixel.py',
    '../_base_/tasks/cifar100.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=5.0 * 128 / 256))
