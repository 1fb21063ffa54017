"""MobileNetV2, supervised on ImageNet, without its classifier: ``make real`` fetches it.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, https://arxiv.org/abs/1801.04381
"""

_base_ = ['./efficientnet_lite0.py']

model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]),
    backbone=dict(net=dict(model='mobilenetv2_100', weights='real://mobilenetv2.pt')),
)
