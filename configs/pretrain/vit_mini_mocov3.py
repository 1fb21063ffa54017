"""ViT-mini pre-trained by contrastive learning, MoCo v3, on formula-driven images, without labels.

Chen et al., "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021,
https://arxiv.org/abs/2104.02057: a contrastive loss matches two views of an image among those of the batch.

As in MAE, three patches of four are dropped, which makes an image of two views cost no more than one of the other
objectives: Li et al., "Scaling Language-Image Pre-training via Masking", CVPR 2023, https://arxiv.org/abs/2212.00794.

vptx: a loss of 1.37 at the end, one seed, 480,000 images, on 2 cores without a GPU.
Results: docs/objectives.md.
This run made weights/vit_mini_mocov3.pth.tar.

python tools/train.py configs/pretrain/vit_mini_mocov3.py
python tools/export_backbone.py work_dirs/vit_mini_mocov3/epoch_5.pth weights/vit_mini_mocov3
"""

_base_ = ['../_base_/tasks/formula.py', '../_base_/protocols/pretrain_mini.py', '../_base_/runtime.py']

temperature = 0.2
projector = dict(
    type='NonLinearNeck',
    hid_channels=384,
    out_channels=128,
    with_bias=False,
    with_last_bn=True,
    with_last_bn_affine=False,
    with_last_bias=False,
    with_avg_pool=False,
)
model = dict(
    type='MoCoV3',
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    base_momentum=0.01,
    backbone=dict(
        type='PromptedBackbone',
        net=dict(type='TimmViT', model='vit_mini_patch8_64', patch_drop_rate=0.75),
        readout='cls',
    ),
    neck=dict(**projector, in_channels=192, num_layers=3),
    head=dict(
        type='MoCoV3Head',
        predictor=dict(**projector, in_channels=128, num_layers=2),
        loss=dict(type='CrossEntropyLoss', loss_weight=2 * temperature),
        temperature=temperature,
    ),
)
view = [
    dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.2, 1.0)),
    dict(
        type='RandomApply',
        transforms=[dict(type='ColorJitter', brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)],
        prob=0.8,
    ),
    dict(type='RandomGrayscale', prob=0.2, keep_channels=True, channel_weights=(0.114, 0.587, 0.2989)),
]
# The patch projection stays random (section 4.2 of the paper); a rate of zero stops both gradient and weight decay.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'patch_embed': dict(lr_mult=0.0, decay_mult=0.0)}))
train_dataloader = dict(
    dataset=dict(
        pipeline=[dict(type='MultiView', num_views=[2], transforms=[view]), dict(type='PackInputs')],
    ),
)
