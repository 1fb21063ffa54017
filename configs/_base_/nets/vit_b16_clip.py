"""ViT-B/16, the image tower of OpenAI's CLIP: 400 million images and their captions.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020. timm downloads the weights. OpenAI trained with an approximate GELU: the network's
name says quickgelu, and without it every feature is slightly wrong. The readout is the class token after the last norm,
(B, 768), before the projection to the captions' space.
"""

model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(
        mean=[255 * 0.48145466, 255 * 0.4578275, 255 * 0.40821073],
        std=[255 * 0.26862954, 255 * 0.26130258, 255 * 0.27577711],
        to_rgb=True,
    ),
    backbone=dict(
        type='PromptedBackbone',
        net=dict(
            type='TimmViT',
            model='vit_base_patch16_clip_quickgelu_224.openai',
            img_size=224,
            weights='timm://vit_base_patch16_clip_quickgelu_224.openai',
        ),
        readout='cls',
    ),
    head=dict(
        type='LinearClsHead',
        in_channels=768,
        init_cfg=dict(type='Kaiming', layer='Linear', mode='fan_out', distribution='normal', bias=-4.59512),
    ),
)
