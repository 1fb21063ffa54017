"""Added prompts on CUB-200-2011, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  none on CUB-200; in figure 5 they come close to prompts put in, on VTAB-1k's natural group (74.0 % against
    76.8).
vptx:   not run yet. The learning rate is a guess from their grid, to be chosen on the validation split.
Cost:   305,096 trained parameters, 153,800 of them the head; a prompt file of 1.16 MB. Time not measured.

    python tools/train.py configs/cls/vitb16_in21k_cub_added.py
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/added.py',
    '../_base_/tasks/cub200.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=5.0 * 128 / 256))
