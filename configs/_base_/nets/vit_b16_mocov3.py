"""ViT-B/16, contrastive learning on ImageNet-1k, without labels: MoCo v3, 300 epochs.

Chen et al., "An Empirical Study of Training Self-Supervised Vision Transformers", ICCV 2021,
https://arxiv.org/abs/2104.02057. timm does not have the weights. Get the authors' (CC-BY-NC 4.0), 'vit-b-300ep.pth.tar'
of https://github.com/facebookresearch/moco-v3/blob/main/CONFIG.md, and put them into the folder of `weights`, or give
their path: --cfg-options model.backbone.net.weights=FILE. Their 'linear-vit-b-300ep.pth.tar', which the public VPT code
uses, holds the same backbone and a classifier.
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_base_patch16_224',
            img_size=224,
            weights='data/weights/vit-b-300ep.pth.tar',
        ),
        readout='cls',
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=768,
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_out', distribution='normal', bias=-4.59512),
    ),
)
