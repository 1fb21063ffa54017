"""Adapter+ on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Steitz and Roth, "Adapters Strike Back", CVPR 2024, https://arxiv.org/abs/2406.06820
Paper:  77.6 %, mean of the three groups, over three seeds.
Choice: nothing: one recipe for all tasks, one evaluation after epoch 100. The rank is not said with the number.
vptx:   not run yet.
Cost:   242,884 trained parameters, 76,900 of them the head; a prompt file of 0.97 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_adapter_plus.py
    python tools/experiment.py configs/vtab/vitb16_in21k_adapter_plus.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/adapter_plus.py',
    '../_base_/tasks/vtab_bicubic.py',
    '../_base_/protocols/adapter_plus.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.004 * 64 / 256))
