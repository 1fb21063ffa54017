"""ViT-mini and the image tower of CLIP-mini: the networks of the mini benchmarks, in timm's registry.

timm.create_model('vit_mini_patch8_64')        # half a ViT-Ti: 6 layers, width 192, 65 tokens, 2.7 M parameters
timm.create_model('vit_mini_patch8_clip_64')   # as timm builds the towers of CLIP: a norm first, patches without bias
"""

from functools import partial
from typing import Any

from timm.layers import LayerNorm
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import VisionTransformer

_CONFIG = dict(
    input_size=(3, 64, 64),
    num_classes=1000,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    first_conv='patch_embed.proj',
    classifier='head',
)
default_cfgs = generate_default_cfgs(
    {
        'vit_mini_patch8_64.untrained': _CONFIG,
        # The classifier is the projection to the joint space.
        'vit_mini_patch8_clip_64.untrained': dict(_CONFIG, num_classes=160),
    }
)
_MINI: dict[str, Any] = dict(img_size=64, patch_size=8, embed_dim=192, depth=6, num_heads=3)


@register_model
def vit_mini_patch8_64(pretrained: bool = False, **arguments) -> VisionTransformer:
    """ViT-mini: width 192, 3 heads, 6 layers, patches of 8 px."""
    return build_model_with_cfg(VisionTransformer, 'vit_mini_patch8_64', pretrained, **{**_MINI, **arguments})


@register_model
def vit_mini_patch8_clip_64(pretrained: bool = False, **arguments) -> VisionTransformer:
    """The image tower of CLIP-mini: ViT-mini in CLIP's layout, whose head projects to the joint space of 160."""
    clip = dict(_MINI, pre_norm=True, norm_layer=partial(LayerNorm, eps=1e-5))
    return build_model_with_cfg(VisionTransformer, 'vit_mini_patch8_clip_64', pretrained, **{**clip, **arguments})
