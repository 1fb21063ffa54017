"""FacT-TK on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Jie and Deng, "FacT", AAAI 2023, https://arxiv.org/abs/2212.03145
Paper:  75.6 %, mean of the three groups, as reprinted by V-PETL Bench.
Choice: the best epoch on the test images, of every tenth; the scale of each task as well; one seed.
vptx:   not run yet.
Cost:   107,876 trained parameters, 76,900 of them the head; a prompt file of 0.43 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_fact.py
    python tools/experiment.py configs/vtab/vitb16_in21k_fact.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/fact.py',
    '../_base_/tasks/vtab_bicubic.py',
    '../_base_/protocols/adapter_plus.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=0.004 * 64 / 256))
