"""ResNet-50, supervised on ImageNet-1k: a convolutional network of Jia et al. 2022.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385: torchvision's
first weights, by timm. Prompts act on the image only. Batch norms keep their statistics.
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmClassifier',
            model='resnet50.tv_in1k',
            img_size=224,
            weights='timm://resnet50.tv_in1k',
        ),
        readout='mean',
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=2048,
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_out', distribution='normal', bias=-4.59512),
    ),
)
