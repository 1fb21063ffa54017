"""ViT-B/16, a masked autoencoder of ImageNet-1k, without labels.

He et al., "Masked Autoencoders Are Scalable Vision Learners", CVPR 2022, https://arxiv.org/abs/2111.06377. timm
downloads the weights (CC-BY-NC 4.0); the authors' file can also be used: 'mae_pretrain_vit_base.pth' of
https://github.com/facebookresearch/mae.

Its class token was not trained to describe the image, so the readout is the average of the patches, without the
prompts, after the norm that comes with the weights. Jia et al. 2022 include the prompts in the average, and put a new,
frozen norm after it. That takes two settings, here and in custom_hooks; the second only with prompts:

    net=dict(..., global_pool='avg', fresh=['norm', 'fc_norm'])
    dict(type='PromptTuningHook', ..., readout='prompts+patches')
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_base_patch16_224.mae',
            img_size=224,
            weights='timm://vit_base_patch16_224.mae',
        ),
        readout='mean',
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=768,
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_out', distribution='normal', bias=-4.59512),
    ),
)
