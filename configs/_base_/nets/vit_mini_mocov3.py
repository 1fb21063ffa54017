"""ViT-mini, pre-trained by contrast on formula-driven images, MoCo v3: configs/pretrain/vit_mini_mocov3.py"""

_base_ = ['./vit_mini_sup.py']

model = dict(backbone=dict(net=dict(weights='{{ fileDirname }}/../../../weights/vit_mini_mocov3.pth.tar')))
