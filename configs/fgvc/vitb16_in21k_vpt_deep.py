"""VPT-deep on FGVC, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  89.11 %, the mean of the five data sets.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   245,960 trained parameters, 153,800 of them the head; a prompt file of 0.94 MB. Time not measured.

    python tools/train.py configs/fgvc/vitb16_in21k_vpt_deep.py
    python tools/experiment.py configs/fgvc/vitb16_in21k_vpt_deep.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/deep.py',
    '../_base_/tasks/fgvc.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=200))
optim_wrapper = dict(optimizer=dict(lr=5.0 * 128 / 256))
