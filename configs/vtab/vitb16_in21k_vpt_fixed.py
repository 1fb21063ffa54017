"""Fixed random prompts on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  in figure 11, as a linear probe.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   76,900 trained parameters, the head; a prompt file of 0.64 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_vpt_fixed.py
    python tools/experiment.py configs/vtab/vitb16_in21k_vpt_fixed.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/deep_fixed.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=1.0 * 128 / 256))
