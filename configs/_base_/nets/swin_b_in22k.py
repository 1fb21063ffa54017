"""Swin-B, 224 px, windows of 7, supervised on ImageNet-22k: the hierarchical network of Jia et al. 2022.

Liu et al., "Swin Transformer", ICCV 2021, https://arxiv.org/abs/2103.14030. timm downloads the weights; the authors'
file can also be used: 'swin_base_patch4_window7_224_22k.pth'. The readout is the average of the patches; Jia et al.
2022 include the prompts in the average: readout='prompts+patches' of the hook.
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmSwin',
            model='swin_base_patch4_window7_224.ms_in22k',
            img_size=224,
            weights='timm://swin_base_patch4_window7_224.ms_in22k',
        ),
        readout='mean',
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=1024,
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_out', distribution='normal', bias=-4.59512),
    ),
)
