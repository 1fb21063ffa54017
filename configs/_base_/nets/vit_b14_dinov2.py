"""ViT-B/14, by self-distillation on 142 million curated images, without labels: DINOv2.

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024,
https://arxiv.org/abs/2304.07193. timm downloads the weights; the authors' file can also be used:
'dinov2_vitb14_pretrain.pth'. They are for 518 px; at 224 px, 16 x 16 patches, their positions are interpolated.
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_base_patch14_dinov2.lvd142m',
            img_size=224,
            weights='timm://vit_base_patch14_dinov2.lvd142m',
        ),
        readout='cls',
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=768,
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_out', distribution='normal', bias=-4.59512),
    ),
)
