"""CVPT on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Huang et al., "CVPT: Cross Visual Prompt Tuning", ICCV 2025, https://arxiv.org/abs/2408.14961
Paper:  77.2 %, mean of the three groups.
Choice: the best epoch on the test images, of every tenth, and a seed for each task (42, 44, 80, 100 or 800). AdamW,
        rates of 0.0002 to 0.01, 1 to 200 prompts, batches of 16 to 64; drop path 0.1 of the frozen network stays on.
vptx:   not run yet.
Cost:   261,220 trained parameters, 76,900 of them the head; a prompt file of 1.04 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_cross.py
    python tools/experiment.py configs/vtab/vitb16_in21k_cross.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/cross.py',
    '../_base_/tasks/vtab_bicubic.py',
    '../_base_/protocols/adapter_plus.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.004 * 64 / 256))
