"""ViT-mini, a masked autoencoder of formula-driven images: configs/pretrain/vit_mini_mae.py

The readout is the average of the patches, without the prompts, as in vit_b16_mae.py.
"""

_base_ = ['./vit_mini_sup.py']

model = dict(
    backbone=dict(net=dict(weights='{{ fileDirname }}/../../../weights/vit_mini_mae.pth'), readout='mean'),
)
