"""SETR-MLA on ViT-L/16: four layers, aggregated from the last to the first; otherwise setr_pup_vitl.py.

As mmsegmentation's setr_vit-l-mla_8xb2-160k_ade20k-512x512.py, except that the class token stays in the network.
"""

_base_ = ['./setr_pup_vitl.py']

fcn = dict(
    type='FCNHead',
    in_channels=256,
    channels=256,
    num_classes=150,
    dropout_ratio=0,
    num_convs=0,
    kernel_size=1,
    concat_input=False,
    loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
)
model = dict(
    backbone=dict(readout=dict(maps=[5, 11, 17, 23])),
    neck=dict(
        type='MLANeck',
        in_channels=[1024, 1024, 1024, 1024],
        out_channels=256,
        norm_cfg=dict(type='BN'),
        act_cfg=dict(type='ReLU'),
    ),
    decode_head=dict(
        _delete_=True,
        type='SETRMLAHead',
        in_channels=(256, 256, 256, 256),
        channels=512,
        in_index=(0, 1, 2, 3),
        mla_channels=128,
        num_classes=150,
        dropout_ratio=0,
        norm_cfg=dict(type='BN'),
        loss_decode=dict(type='CrossEntropyLoss'),
    ),
    auxiliary_head=[dict(fcn, in_index=index) for index in range(4)],
)
