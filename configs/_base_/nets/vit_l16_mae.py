"""ViT-L/16, a masked autoencoder of ImageNet-1k: vit_b16_mae.py, larger. The authors' file:
'mae_pretrain_vit_large.pth'."""

_base_ = ['./vit_b16_mae.py']

model = dict(
    backbone=dict(net=dict(model='vit_large_patch16_224.mae', weights='timm://vit_large_patch16_224.mae')),
    head=dict(in_channels=1024),
)
