"""SETR-PUP on ViT-L/14 of DINOv2, on 512 px; heads as in setr_pup_vitl.py.

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024,
https://arxiv.org/abs/2304.07193. Patches of 14 px do not divide 512: an image is padded to 518 px at its right and
lower edge, 37 x 37 patches, for which the weights have positions. No file has to be converted.
"""

_base_ = ['./setr_pup_vitl.py']

model = dict(
    backbone=dict(
        net=dict(
            _delete_=True,
            type='TimmViT',
            model='vit_large_patch14_dinov2.lvd142m',
            img_size=518,
            dynamic_img_pad=True,
            weights='timm://vit_large_patch14_dinov2.lvd142m',
        ),
        # The last one after the network's own norm, as DINOv2 is used.
        readout=dict(maps=[9, 14, 19, 23], norm='final'),
    ),
)
