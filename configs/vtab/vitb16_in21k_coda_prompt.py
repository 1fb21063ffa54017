"""CODA-Prompt on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Smith et al., "CODA-Prompt", CVPR 2023, https://arxiv.org/abs/2211.13218
Paper:  none on VTAB; tasks there come one after the other.
Choice: the public scripts set validation to False and report the last of 20 epochs of each task on the test images.
vptx:   not run yet.
Cost:   3,916,900 trained parameters, 76,900 of them the head; a prompt file of 15.67 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_coda_prompt.py
    python tools/experiment.py configs/vtab/vitb16_in21k_coda_prompt.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/coda_prompt.py',
    '../_base_/tasks/vtab_bicubic.py',
    '../_base_/protocols/coda_prompt.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(optimizer=dict(lr=0.002 * 128 / 256))
auto_scale_lr = dict(base_batch_size=128)
