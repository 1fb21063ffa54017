"""CLIP's ViT-B/32, the image tower up to the joint space, (B, 512), which a text head reads."""

_base_ = ['./vit_b16.py']

model = dict(
    backbone=dict(
        net=dict(
            model='vit_base_patch32_clip_quickgelu_224.openai',
            weights='timm://vit_base_patch32_clip_quickgelu_224.openai',
        )
    )
)
