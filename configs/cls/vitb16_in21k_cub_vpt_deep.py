"""VPT-deep on CUB-200-2011, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  88.5 % on the test split, with 10 prompts (full fine-tuning 87.3, a linear probe 85.3).
vptx:   not run yet. The learning rate is a guess from their grid, to be chosen on the validation split.
Cost:   245,960 trained parameters, 153,800 of them the head; a prompt file of 0.94 MB. Time not measured.

    python tools/train.py configs/cls/vitb16_in21k_cub_vpt_deep.py
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/deep.py',
    '../_base_/tasks/cub200.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=5.0 * 128 / 256))
