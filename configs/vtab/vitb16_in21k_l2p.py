"""L2P on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Wang et al., "Learning to Prompt for Continual Learning", CVPR 2022, https://arxiv.org/abs/2112.08654
Paper:  none on VTAB; tasks there come one after the other.
Choice: nothing is chosen in the public port: the rate, the pool and 5 epochs are constants, the last epoch is
        reported, one seed; test images are looked at after each task.
vptx:   not run yet.
Cost:   122,980 trained parameters, 76,900 of them the head; a prompt file of 0.49 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_l2p.py
    python tools/experiment.py configs/vtab/vitb16_in21k_l2p.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/l2p.py',
    '../_base_/tasks/vtab_bicubic.py',
    '../_base_/protocols/l2p.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=0.03 * 16 / 256))
auto_scale_lr = dict(base_batch_size=16)
