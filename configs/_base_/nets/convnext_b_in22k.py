"""ConvNeXt-B, supervised on ImageNet-22k: a convolutional network of Jia et al. 2022.

Liu et al., "A ConvNet for the 2020s", CVPR 2022, https://arxiv.org/abs/2201.03545. timm downloads the weights; the
authors' file can also be used: 'convnext_base_22k_224.pth'. Prompts act on the image only. Its norm after the average
is called head.norm, so use tune=['head.fc'] for a linear probe that keeps it frozen.
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmClassifier',
            model='convnext_base.fb_in22k',
            img_size=224,
            weights='timm://convnext_base.fb_in22k',
        ),
        readout='mean',
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=1024,
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_out', distribution='normal', bias=-4.59512),
    ),
)
