"""ResNet-18, supervised on ImageNet-1k: the network on which label mappings are compared, Chen et al., CVPR 2023.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, https://arxiv.org/abs/1512.03385: torchvision's
weights, by timm. Prompts act on the image only. Batch norms keep their statistics.
"""

_base_ = ['./resnet50_in1k.py']

model = dict(
    backbone=dict(net=dict(model='resnet18.tv_in1k', weights='timm://resnet18.tv_in1k')),
    head=dict(in_channels=512),
)
