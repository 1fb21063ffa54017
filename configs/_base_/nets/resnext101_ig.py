"""ResNeXt-101 32x8d, supervised by the hashtags of a billion photographs, then on ImageNet-1k: "Instagram".

Mahajan et al., "Exploring the Limits of Weakly Supervised Pretraining", ECCV 2018, https://arxiv.org/abs/1805.00932;
the weights of Bahng et al. and of EVP, by timm. CC-BY-NC. Prompts act on the image only.
"""

_base_ = ['./resnet50_in1k.py']

model = dict(
    backbone=dict(
        net=dict(model='resnext101_32x8d.fb_wsl_ig1b_ft_in1k', weights='timm://resnext101_32x8d.fb_wsl_ig1b_ft_in1k')
    ),
)
