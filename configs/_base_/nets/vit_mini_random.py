"""ViT-mini with random weights: the baseline of all objectives. Each seed draws its own network, so a prompt file
belongs to the seed of its run."""

_base_ = ['./vit_mini_sup.py']

model = dict(backbone=dict(net=dict(weights=None)))
