"""VPT-deep on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  78.48 / 82.43 / 54.98 %; means of the three groups.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   169,060 trained parameters, 76,900 of them the head; a prompt file of 0.64 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_vpt_deep.py
    python tools/experiment.py configs/vtab/vitb16_in21k_vpt_deep.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/deep.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=5.0 * 128 / 256))
