"""SETR-PUP on ViT-L/16, ImageNet-21k fine-tuned on ImageNet-1k at 384 px, on 512 px.

Zheng et al., "Rethinking Semantic Segmentation from a Sequence-to-Sequence Perspective with Transformers", CVPR 2021,
https://arxiv.org/abs/2012.15840. Heads as in mmsegmentation's setr_vit-l_pup_8xb2-160k_ade20k-512x512.py.
"""

aux = dict(
    type='SETRUPHead',
    in_channels=1024,
    channels=256,
    num_classes=150,
    dropout_ratio=0,
    norm_cfg=dict(type='BN'),
    num_convs=2,
    kernel_size=3,
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
)
model = dict(
    type='StreamedEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        # ImageNet's, as in SETR; these weights were trained with 127.5 for both.
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
        test_cfg=dict(size_divisor=16),
    ),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_large_patch16_384',
            img_size=512,
            # A head has a norm of its own.
            final_norm=False,
            fresh=['norm'],
            weights='https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/'
            'jx_vit_large_p16_384-b3be5167.pth',
            positions='bilinear',
        ),
        readout=dict(maps=[9, 14, 19, 23]),
    ),
    decode_head=dict(
        type='SETRUPHead',
        in_channels=1024,
        channels=256,
        in_index=3,
        num_classes=150,
        dropout_ratio=0,
        norm_cfg=dict(type='BN'),
        num_convs=4,
        up_scale=2,
        kernel_size=3,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    auxiliary_head=[dict(aux, in_index=0), dict(aux, in_index=1), dict(aux, in_index=2)],
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)),
)
