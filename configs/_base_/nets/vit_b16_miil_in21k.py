"""ViT-B/16, supervised on ImageNet-21k with MIIL's cleaned and hierarchical labels: the network of LoR-VP.

Ridnik et al., "ImageNet-21K Pretraining for the Masses", NeurIPS 2021, https://arxiv.org/abs/2104.10972. timm downloads
the weights. It takes pixels in [0, 1] as they are, so a prompt has the same values in every space but 'symmetric'.
"""

_base_ = ['./vit_b16_in21k.py']

model = dict(
    data_preprocessor=dict(mean=[0, 0, 0], std=[255, 255, 255]),
    backbone=dict(
        net=dict(model='vit_base_patch16_224_miil.in21k', weights='timm://vit_base_patch16_224_miil.in21k'),
    ),
)
