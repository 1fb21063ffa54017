"""EVP on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Liu et al., "Explicit Visual Prompting for Low-Level Structure Segmentations", CVPR 2023,
        https://arxiv.org/abs/2303.10883
Paper:  none on VTAB; for forgeries, shadows, defocus and camouflage.
Choice: the best epoch on the test images, which its configs name as validation; one seed; the reduction for each task.
vptx:   not run yet.
Cost:   965,092 trained parameters, 76,900 of them the head; a prompt file of 3.86 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_explicit.py
    python tools/experiment.py configs/vtab/vitb16_in21k_explicit.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/explicit.py',
    '../_base_/tasks/vtab_bicubic.py',
    '../_base_/protocols/explicit.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(optimizer=dict(lr=0.0128 * 4 / 256))
auto_scale_lr = dict(base_batch_size=4)
