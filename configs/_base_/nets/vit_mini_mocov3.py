"""ViT-mini, pre-trained on formula-driven images by MoCo v3: configs/pretrain/vit_mini_mocov3.py"""

_base_ = ['./vit_mini_sup.py']

model = dict(backbone=dict(net=dict(weights='{{ fileDirname }}/../../../weights/vit_mini_mocov3.pth.tar')))
