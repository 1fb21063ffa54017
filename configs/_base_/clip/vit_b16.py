"""CLIP's ViT-B/16, the image tower up to the joint space, (B, 512), which a text head reads."""

_base_ = ['../nets/vit_b16_clip.py']

# The weights of the network's own classifier are CLIP's projection.
model = dict(backbone=dict(net=dict(num_classes=512), readout='logits'), head=dict(_delete_=True, type='ClsHead'))
