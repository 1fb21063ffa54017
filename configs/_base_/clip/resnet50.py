"""CLIP's ResNet-50, the image tower up to the joint space, (B, 1024), which a text head reads."""

_base_ = ['../nets/vit_b16_clip.py']

model = dict(
    backbone=dict(
        net=dict(
            _delete_=True,
            type='TimmClassifier',
            model='resnet50_clip.openai',
            img_size=224,
            num_classes=1024,
            weights='timm://resnet50_clip.openai',
        ),
        readout='logits',
    ),
    head=dict(_delete_=True, type='ClsHead'),
)
