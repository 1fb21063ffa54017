"""Tiny networks: at least one for every net in the registry, small enough to ask each of them everything.

Each is a bare model of its library, random, with weights large enough that a prompt makes a difference.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial

import timm
import torch
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock
from torch import Tensor, nn

SIZE, PATCH, WIDTH, DEPTH, HEADS, CLASSES = 32, 8, 32, 3, 4, 7
GRID = SIZE // PATCH

_vit = partial(
    timm.create_model,
    img_size=SIZE,
    patch_size=PATCH,
    embed_dim=WIDTH,
    depth=DEPTH,
    num_heads=HEADS,
    num_classes=CLASSES,
    dynamic_img_size=True,
)

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    'plain': partial(_vit, 'vit_base_patch16_224'),
    'no qkv bias': partial(_vit, 'vit_base_patch16_224', qkv_bias=False, num_heads=2),
    'averaged': partial(_vit, 'vit_base_patch16_224', global_pool='avg'),  # with a norm after the average
    'distilled': partial(_vit, 'deit_tiny_distilled_patch16_224'),  # two prefix tokens, two classifiers
    'clip': partial(_vit, 'vit_base_patch16_clip_224'),  # a norm in front
    'registers': partial(_vit, 'vit_small_patch14_reg4_dinov2', init_values=0.5),  # and layer scale
    'no class token': partial(_vit, 'vit_base_patch16_siglip_gap_224'),
    'attention pooling': partial(_vit, 'vit_base_patch16_siglip_224'),
    'layer scale': partial(_vit, 'vit_base_patch16_224', init_values=0.5),
    'query-key norm': partial(_vit, 'vit_base_patch16_224', qk_norm=True),
    'drop path': partial(_vit, 'vit_base_patch16_224', drop_path_rate=0.2, proj_drop_rate=0.1, attn_drop_rate=0.1),
    # Blocks that are not taken apart further, so without door 3.
    'parallel blocks': partial(_vit, 'vit_base_patch16_224', block_fn=ParallelScalingBlock),
    'post-norm blocks': partial(_vit, 'vit_base_patch16_224', block_fn=ResPostBlock, init_values=0.5),
}


@cache
def _drawn(name: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = NETWORKS[name]()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.2)
                else:
                    parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def tiny(name: str = 'plain') -> nn.Module:
    """A network of :data:`NETWORKS`, in eval mode, the same numbers every time."""
    return deepcopy(_drawn(name))


def images(batch: int = 2, size: tuple[int, int] = (SIZE, SIZE), seed: int = 0) -> Tensor:
    """Random images (batch, 3, height, width)."""
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed))
