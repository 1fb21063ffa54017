"""ViT-B/16, supervised on ImageNet-21k: the main network of Jia et al. 2022.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, https://arxiv.org/abs/2010.11929: Google's original
weights, not those of "How to train your ViT" (timm: augreg). 85,798,656 parameters. timm downloads them; Google's own
file can also be used: weights='imagenet21k_ViT-B_16.npz'.
"""

model = dict(
    type='ImageClassifier',
    # ImageNet's mean and standard deviation, because the paper's numbers come from them: its code normalises for every
    # network alike. These weights were trained with 127.5 for both.
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_base_patch16_224.orig_in21k',
            img_size=224,
            weights='timm://vit_base_patch16_224.orig_in21k',
        ),
        readout='cls',
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=768,
        # Weights of standard deviation sqrt(2 / classes); every class begins at -log(99), a probability of 0.01.
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_out', distribution='normal', bias=-4.59512),
    ),
)
