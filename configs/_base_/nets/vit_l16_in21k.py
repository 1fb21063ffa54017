"""ViT-L/16, supervised on ImageNet-21k: vit_b16_in21k.py, larger. Google's own file: 'imagenet21k_ViT-L_16.npz'."""

_base_ = ['./vit_b16_in21k.py']

model = dict(
    backbone=dict(
        net=dict(
            model='vit_large_patch16_224.orig_in21k',
            weights='timm://vit_large_patch16_224.orig_in21k',
        ),
    ),
    head=dict(in_channels=1024),
)
