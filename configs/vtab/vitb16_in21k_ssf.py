"""SSF on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Lian et al., "Scaling & Shifting Your Features", NeurIPS 2022, https://arxiv.org/abs/2210.08823
Paper:  none by this protocol.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   282,724 trained parameters, 76,900 of them the head; a prompt file of 1.08 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_ssf.py
    python tools/experiment.py configs/vtab/vitb16_in21k_ssf.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/ssf.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_adamw.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=0.005 * 128 / 256))
