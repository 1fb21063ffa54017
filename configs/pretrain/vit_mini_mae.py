"""ViT-mini pre-trained as a masked autoencoder on formula-driven images, without labels.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, https://arxiv.org/abs/2111.06377:
three patches of four are hidden, and a small decoder predicts their pixels, normalised within each patch.

vptx: a loss of 0.51 at the end, one seed, 480,000 images, on 2 cores without a GPU.
Results: docs/objectives.md.
This run made weights/vit_mini_mae.pth.

python tools/train.py configs/pretrain/vit_mini_mae.py
python tools/export_backbone.py work_dirs/vit_mini_mae/epoch_5.pth weights/vit_mini_mae
"""

_base_ = ['../_base_/tasks/formula.py', '../_base_/protocols/pretrain_mini.py', '../_base_/runtime.py']

model = dict(
    type='MAE',
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        type='MAEViT',
        arch=dict(embed_dims=192, num_layers=6, num_heads=3, feedforward_channels=4 * 192),
        img_size=64,
        patch_size=8,
        mask_ratio=0.75,
    ),
    neck=dict(
        type='MAEPretrainDecoder',
        num_patches=(64 // 8) ** 2,
        patch_size=8,
        embed_dim=192,
        decoder_embed_dim=96,
        decoder_depth=2,
        decoder_num_heads=3,
    ),
    head=dict(
        type='MAEPretrainHead', norm_pix=True, patch_size=8, loss=dict(type='PixelReconstructionLoss', criterion='L2')
    ),
)
optim_wrapper = dict(optimizer=dict(betas=(0.9, 0.95)))
