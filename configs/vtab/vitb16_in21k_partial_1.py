"""Partial-1: the last layer on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  69.44 / 78.53 / 34.17 %; means of the three groups.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   7,166,308 trained parameters, 76,900 of them the head; a prompt file of 27.34 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_partial_1.py
    python tools/experiment.py configs/vtab/vitb16_in21k_partial_1.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/partial_1.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_adamw.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=0.0005 * 1280 / 256))
train_dataloader = dict(batch_size=1280)
auto_scale_lr = dict(base_batch_size=1280)
