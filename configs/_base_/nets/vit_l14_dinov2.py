"""ViT-L/14, DINOv2: vit_b14_dinov2.py, larger. The authors' file: 'dinov2_vitl14_pretrain.pth'."""

_base_ = ['./vit_b14_dinov2.py']

model = dict(
    backbone=dict(
        net=dict(model='vit_large_patch14_dinov2.lvd142m', weights='timm://vit_large_patch14_dinov2.lvd142m'),
    ),
    head=dict(in_channels=1024),
)
