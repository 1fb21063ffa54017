"""VAPT on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Le et al., "Adaptive Prompt", ICLR 2026, https://arxiv.org/abs/2501.18936
Paper:  75.30 %, mean of the three groups.
Choice: on 200 validation images, the last epoch, five fixed seeds. For CIFAR-100 10 prompts, base rate 2.5, weight
        decay 0.01, batch 64.
vptx:   not run yet.
Cost:   132,508 trained parameters, 76,900 of them the head; a prompt file of 0.53 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_adaptive.py
    python tools/experiment.py configs/vtab/vitb16_in21k_adaptive.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/adaptive.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=2.5 * 64 / 256))
auto_scale_lr = dict(base_batch_size=64)
