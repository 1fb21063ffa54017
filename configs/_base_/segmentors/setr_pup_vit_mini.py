"""A small SETR-PUP on ViT-mini, pre-trained with supervision on formula-driven images of 64 px, on crops of 64 px.

One step of up-sampling and no auxiliary heads: the prompts must adapt the frozen maps to the scenes.
"""

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
        size=(64, 64),
        test_cfg=dict(size_divisor=8),
    ),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_mini_patch8_64',
            img_size=64,
            final_norm=False,
            fresh=['norm'],
            weights='{{ fileDirname }}/../../../weights/vit_mini_sup.npz',
        ),
        readout=dict(maps=[5]),
    ),
    decode_head=dict(
        type='SETRUPHead',
        in_channels=192,
        channels=32,
        in_index=0,
        num_classes=12,
        dropout_ratio=0,
        norm_cfg=dict(type='BN'),
        num_convs=1,
        up_scale=2,
        kernel_size=3,
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(64, 64)),
)
