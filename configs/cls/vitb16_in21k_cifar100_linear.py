"""A linear probe on CIFAR-100, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  none on all of CIFAR-100; 63.4 % on VTAB-1k's 1,000 images of it, another task.
vptx:   not run yet. The learning rate is a guess from their grid, to be chosen on the validation split.
Cost:   76,900 trained parameters, the head; a prompt file of 0.29 MB. Time not measured.

    python tools/train.py configs/cls/vitb16_in21k_cifar100_linear.py
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/linear.py',
    '../_base_/tasks/cifar100.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=1.0 * 2048 / 256))
train_dataloader = dict(batch_size=2048)
auto_scale_lr = dict(base_batch_size=2048)
