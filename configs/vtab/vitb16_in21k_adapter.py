"""Pfeiffer's adapter on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  70.39 / 77.11 / 33.43 %, of adapters of which one bias learns; means of the three groups.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   1,856,740 trained parameters, 76,900 of them the head; a prompt file of 7.08 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_adapter.py
    python tools/experiment.py configs/vtab/vitb16_in21k_adapter.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/adapter.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_adamw.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=0.001 * 128 / 256))
