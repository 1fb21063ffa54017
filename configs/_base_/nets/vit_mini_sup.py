"""ViT-mini, pre-trained with supervision on formula-driven images: configs/pretrain/vit_mini_sup.py"""

model = dict(
    type='ImageClassifier',
    # Pixels from [0, 255] to [-1, 1], as in pre-training.
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_mini_patch8_64',
            weights='{{ fileDirname }}/../../../weights/vit_mini_sup.npz',
        ),
        readout='cls',
    ),
    head=dict(type='LinearClsHead', in_channels=192),
)
