"""SETR-PUP on ViT-mini, pre-trained with supervision on formula-driven images of 64 px, on 128 px.

Patches are of 8 px, so three steps of the head, each of twice the size, where a ViT-L has four.
"""

aux = dict(
    type='SETRUPHead',
    in_channels=192,
    channels=32,
    num_classes=12,
    dropout_ratio=0,
    norm_cfg=dict(type='BN'),
    num_convs=1,
    kernel_size=3,
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
)
model = dict(
    type='StreamedEncoderDecoder',
    # Pixels from [0, 255] to [-1, 1], as in pre-training.
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[127.5] * 3,
        std=[127.5] * 3,
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(128, 128),
        test_cfg=dict(size_divisor=8),
    ),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_mini_patch8_64',
            img_size=128,
            final_norm=False,
            fresh=['norm'],
            weights='{{ fileDirname }}/../../../weights/vit_mini_sup.npz',
            positions='bilinear',
        ),
        readout=dict(maps=[2, 3, 4, 5]),
    ),
    decode_head=dict(
        type='SETRUPHead',
        in_channels=192,
        channels=32,
        in_index=3,
        num_classes=12,
        dropout_ratio=0,
        norm_cfg=dict(type='BN'),
        num_convs=3,
        up_scale=2,
        kernel_size=3,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    auxiliary_head=[dict(aux, in_index=0), dict(aux, in_index=1), dict(aux, in_index=2)],
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(128, 128), stride=(85, 85)),
)
