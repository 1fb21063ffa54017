"""Bias tuning (BitFit) on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  73.30 / 78.25 / 44.09 %; means of the three groups.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   179,812 trained parameters, 76,900 of them the head; a prompt file of 0.69 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_bias.py
    python tools/experiment.py configs/vtab/vitb16_in21k_bias.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/bias.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_adamw.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=0.001 * 128 / 256))
