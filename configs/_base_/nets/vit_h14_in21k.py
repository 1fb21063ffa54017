"""ViT-H/14, supervised on ImageNet-21k: vit_b16_in21k.py, the largest. Google's file: 'imagenet21k_ViT-H_14.npz'."""

_base_ = ['./vit_b16_in21k.py']

model = dict(
    backbone=dict(
        net=dict(
            model='vit_huge_patch14_224.orig_in21k',
            weights='timm://vit_huge_patch14_224.orig_in21k',
        ),
    ),
    head=dict(in_channels=1280),
)
