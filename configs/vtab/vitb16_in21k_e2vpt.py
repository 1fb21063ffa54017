"""E^2VPT without pruning on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Han et al., "E^2VPT", ICCV 2023, https://arxiv.org/abs/2307.13770
Paper:  73.94 %, mean of the three groups, with pruning.
Choice: the rates of VPT on 200 validation images, then up to 81 pairs of shares to prune, again on these; batch 64, the
        last epoch, five fixed seeds.
vptx:   not run yet.
Cost:   215,310 trained parameters, 76,900 of them the head; a prompt file of 0.86 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_e2vpt.py
    python tools/experiment.py configs/vtab/vitb16_in21k_e2vpt.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/e2vpt.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(optimizer=dict(lr=5.0 * 64 / 256))
auto_scale_lr = dict(base_batch_size=64)
