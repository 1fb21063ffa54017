"""The image tower of CLIP-mini, pre-trained with captions of scenes drawn by formula: configs/pretrain/clip_mini.py"""

model = dict(
    type='ImageClassifier',
    # Pixels from [0, 255] to [-1, 1], as in pre-training.
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_mini_patch8_clip_64',
            weights='{{ fileDirname }}/../../../weights/clip_mini.safetensors',
        ),
        readout='cls',
    ),
    head=dict(type='LinearClsHead', in_channels=192),
)
