"""MLP-3: a head of three layers on VTAB-1k, ViT-B/16 supervised on ImageNet-21k.

The public code has the norm of a hidden layer after its ReLU; here it stands before, as in mmpretrain, and takes
out again the bias that every linear layer begins with.

Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119
Paper:  67.80 / 72.83 / 30.62 %; means of the three groups.
vptx:   not run yet. The learning rate below is one of the grid; tools/experiment.py selects it.
Cost:   1,261,156 trained parameters, all of them the head; a prompt file of 4.81 MB. Time not measured.

    python tools/train.py configs/vtab/vitb16_in21k_mlp_3.py
    python tools/experiment.py configs/vtab/vitb16_in21k_mlp_3.py --tasks all
"""

_base_ = [
    '../_base_/nets/vit_b16_in21k.py',
    '../_base_/prompters/linear.py',
    '../_base_/tasks/vtab.py',
    '../_base_/protocols/vpt_sgd.py',
    '../_base_/runtime.py',
]

model = dict(
    head=dict(
        type='StackedLinearClsHead',
        num_classes=100,
        mid_channels=[768, 768],
        dropout_rate=0.1,
        norm_cfg=dict(type='BN1d'),
    )
)
optim_wrapper = dict(
    optimizer=dict(lr=1.0 * 2048 / 256), paramwise_cfg=dict(custom_keys={'head.layers.2.fc.bias': dict(decay_mult=0.0)})
)
train_dataloader = dict(batch_size=2048)
auto_scale_lr = dict(base_batch_size=2048)
