"""ViT-B/16, supervised on ImageNet-1k alone: DeiT-B, without distillation.

Touvron et al., "Training data-efficient image transformers & distillation through attention", ICML 2021,
https://arxiv.org/abs/2012.12877. timm downloads the weights; the authors' file can also be used:
'deit_base_patch16_224-b5f2ef4d.pth'.
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='deit_base_patch16_224.fb_in1k',
            img_size=224,
            weights='timm://deit_base_patch16_224.fb_in1k',
        ),
        readout='cls',
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=768,
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_out', distribution='normal', bias=-4.59512),
    ),
)
