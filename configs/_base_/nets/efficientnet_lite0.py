"""EfficientNet-Lite0 with its classifier of ImageNet's 1000 classes: ``make real`` fetches it.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019,
https://arxiv.org/abs/1905.11946; "Lite" is without squeeze-and-excitation.
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3, to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmClassifier',
            model='tf_efficientnet_lite0',
            weights='real://efficientnet_lite0.pth',
            img_size=224,
        ),
        readout='mean',
    ),
    head=dict(type='LinearClsHead', in_channels=1280),
)
