"""UperNet on Swin-B, ImageNet-22k at 224 px, windows of 7, on 512 px.

Liu et al., "Swin Transformer", ICCV 2021, https://arxiv.org/abs/2103.14030; Xiao et al., "Unified Perceptual Parsing",
ECCV 2018, https://arxiv.org/abs/1807.10221. Heads as in mmsegmentation's upernet_swin.py.
"""

model = dict(
    type='StreamedEncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
        # timm's Swin is built for one size: a smaller image is padded to it, a larger one is split into windows.
        test_cfg=dict(size=(512, 512)),
    ),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmSwin',
            model='swin_base_patch4_window7_224.ms_in22k',
            img_size=512,
            weights='timm://swin_base_patch4_window7_224.ms_in22k',
        ),
        # The last layer of each stage, each with a new norm.
        readout=dict(maps=[1, 3, 21, 23], norm='each'),
    ),
    decode_head=dict(
        type='UPerHead',
        in_channels=[128, 256, 512, 1024],
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=512,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=512,
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)),
)
