"""Gated prompts on VTAB-1k, ViT-B/16 of a masked autoencoder of ImageNet-1k.

Source: Yoo et al., "Improving Visual Prompt Tuning for Self-supervised Vision Transformers", ICML 2023,
        https://arxiv.org/abs/2306.05067
Paper:  53.8 %, mean of the three groups.
Choice: unknown: the public code has the rate, the gate and the number of prompts as arguments, and no table of them;
        one seed. It averages prompts and patches and norms that; weight decay 0, batch 64.
vptx:   not run yet.
Cost:   153,723 trained parameters, 76,900 of them the head; a prompt file of 0.61 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_mae_gated.py
    python tools/experiment.py configs/vtab/vitb16_mae_gated.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_mae.py',
    '../_base_/prompters/gated.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=5.0 * 64 / 256))
auto_scale_lr = dict(base_batch_size=64)
