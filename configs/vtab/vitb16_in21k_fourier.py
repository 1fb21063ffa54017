"""VFPT on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Zeng et al., "Visual Fourier Prompt Tuning", NeurIPS 2024, https://arxiv.org/abs/2411.01327
Paper:  75.49 %, mean of the three groups.
Choice: rates, numbers and shares on 200 validation images, the last epoch, five fixed seeds. The settings of each task
        are in a table that is not in the repository.
vptx:   not run yet.
Cost:   169,060 trained parameters, 76,900 of them the head; a prompt file of 0.68 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_fourier.py
    python tools/experiment.py configs/vtab/vitb16_in21k_fourier.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/fourier.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=5.0 * 128 / 256))
