"""A linear probe on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  68.93 / 77.16 / 26.84 %; means of the three groups.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   76,900 trained parameters, the head; a prompt file of 0.29 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_linear.py
    python tools/experiment.py configs/vtab/vitb16_in21k_linear.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/linear.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(head=dict(num_classes=100))
optim_wrapper = dict(optimizer=dict(lr=1.0 * 2048 / 256))
train_dataloader = dict(batch_size=2048)
auto_scale_lr = dict(base_batch_size=2048)
