"""VPT-deep and bias on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  77.64 / 82.22 / 53.87 %; means of the three groups.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   271,972 trained parameters, 76,900 of them the head; a prompt file of 1.04 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_vpt_bias.py
    python tools/experiment.py configs/vtab/vitb16_in21k_vpt_bias.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/deep_bias.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=0.25 * 128 / 256))
