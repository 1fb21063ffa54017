"""SETR-PUP on ViT-B/16, ImageNet-21k at 224 px, on 512 px; heads as in setr_pup_vitl.py, layers at the same depths."""

_base_ = ['./setr_pup_vitl.py']

aux = dict(_base_.aux, in_channels=768)
model = dict(
    backbone=dict(
        net=dict(model='vit_base_patch16_224.orig_in21k', weights='timm://vit_base_patch16_224.orig_in21k'),
        readout=dict(maps=[4, 6, 9, 11]),
    ),
    decode_head=dict(in_channels=768),
    auxiliary_head=[dict(aux, in_index=0), dict(aux, in_index=1), dict(aux, in_index=2)],
)
