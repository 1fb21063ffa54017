"""ViT-mini: the network of the mini benchmarks, half a ViT-Ti for 64 px images, in timm's registry.

timm.create_model('vit_mini_patch8_64')        # 6 layers, width 192, 65 tokens, 2.7 M parameters
"""

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer

default_cfgs = generate_default_cfgs(
    {
        'vit_mini_patch8_64.untrained': dict(
            input_size=(3, 64, 64),
            num_classes=1000,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            first_conv='patch_embed.proj',
            classifier='head',
        ),
    }
)


@register_model
def vit_mini_patch8_64(pretrained: bool = False, **arguments) -> VisionTransformer:
    """ViT-mini: width 192, 3 heads, 6 layers, patches of 8 px."""
    mini = dict(img_size=64, patch_size=8, embed_dim=192, depth=6, num_heads=3)
    return build_model_with_cfg(VisionTransformer, 'vit_mini_patch8_64', pretrained, **{**mini, **arguments})
