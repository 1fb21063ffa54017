"""Houlsby's adapters on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019,
    https://arxiv.org/abs/1902.00751
Paper:  none by this protocol.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   3,636,580 trained parameters, 76,900 of them the head; a prompt file of 13.87 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_houlsby.py
    python tools/experiment.py configs/vtab/vitb16_in21k_houlsby.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/houlsby.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_adamw.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=0.001 * 128 / 256))
