"""timm's VisionTransformer, in all its forms: plain, distilled (two prefix tokens), CLIP (a norm in front), registers,
no class token, any image size.

https://github.com/huggingface/pytorch-image-models, ``timm/models/vision_transformer.py`` and ``deit.py``.
"""

from collections.abc import Sequence
from difflib import get_close_matches

import timm
import torch.nn.functional as F
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn

from vptx.backbones.base import IN_BLOCK, Context, KeyValue, Net, find_sites, is_unseen
from vptx.backbones.memory import attend, attend_first
from vptx.geometry import Geometry, Site
from vptx.registry import NETS
from vptx.weights import load_weights

from . import vit_mini  # noqa: F401  registers our own networks with timm


def create(name: str, arguments: dict) -> nn.Module:
    """A timm model by name, its positions interpolated at any image size."""
    if not timm.is_model(name.partition('.')[0]):
        near = get_close_matches(name, timm.list_models() + timm.list_pretrained(), n=5)
        raise ValueError(f"timm has no network '{name}'. Nearest: {', '.join(near) or 'none'}")
    return timm.create_model(name, **{'num_classes': 0, 'dynamic_img_size': True, **arguments})


@NETS.register_module()
class TimmViT(Net):
    """A vision transformer of timm, taken apart.

    Args:
        model: a timm name such as ``'vit_base_patch16_224.orig_in21k'``, or a built model.
        weights: ``'timm://NAME'`` or a file; its format is told by its content, see
            :func:`~vptx.weights.load_weights`. None leaves them as they are: random, for a name.
        positions: how those of the weights are brought to another image size, ``'bicubic'`` or ``'bilinear'``.
        fresh: patterns of parts that do not take their weights, e.g. ``['norm', 'fc_norm']``.
        **arguments: of ``timm.create_model`` for a name: ``img_size``, ``num_classes`` (0 without), ``depth``, ...
    """

    def __init__(
        self,
        model: str | nn.Module,
        weights: str | None = None,
        positions: str = 'bicubic',
        fresh: Sequence[str] = (),
        **arguments,
    ) -> None:
        super().__init__()
        name = model if isinstance(model, str) else None
        if isinstance(model, str):
            model = create(model, arguments)
        if not isinstance(model, VisionTransformer):
            raise ValueError(f'TimmViT takes timm VisionTransformers apart, not {type(model).__name__}')
        self.model = model
        if weights:
            load_weights(model, weights, positions, fresh)
        config = model.pretrained_cfg
        embed = model.patch_embed
        # Door 3 needs the attention spelt out (below), and sites their usual meaning; a block of another kind keeps its
        # doors 1 and 2.
        plain = all(type(b) is Block and type(b.attn) is Attention and b.attn.gate is None for b in model.blocks)
        width = model.embed_dim
        sites = [site for layer, block in enumerate(model.blocks) for site in find_sites(block, layer, width)]
        self.geometry = Geometry(
            name=name or '.'.join(filter(None, (config.get('architecture'), config.get('tag')))),
            widths=(width,) * len(model.blocks),
            patch=tuple(embed.patch_size),
            image=tuple(embed.img_size),
            prefix=model.num_prefix_tokens,
            tokens=model.num_prefix_tokens + embed.num_patches,
            mean=tuple(config['mean']),
            std=tuple(config['std']),
            doors=frozenset({'image', 'tokens', 'logits'} | ({'memory', 'inside'} if plain else set())),
            sites=(Site('embed', None, 0, width), *sites, Site('norm', None, width, width)) if plain else (),
        )
        self.has_class_token = model.cls_token is not None
        self.readout = {'token': 'cls', 'avg': 'mean'}.get(model.global_pool, 'logits')
        if model.global_pool == 'token' and type(model) in (VisionTransformer, VisionTransformerDistilled):
            self.own_rows = model.num_prefix_tokens

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, VisionTransformer)

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, patch = self.model, self.geometry.patch
        size = tuple(image.shape[-2:])
        if size[0] % patch[0] or size[1] % patch[1]:
            raise ValueError(
                f'patches of {patch[0]} x {patch[1]} px do not divide an image of {size[0]} x {size[1]} px'
            )
        if size != self.geometry.image and not model.dynamic_img_size:
            raise ValueError(
                f'an image of {size[0]} x {size[1]} px, but {self.geometry.name} was built for '
                f'{self.geometry.image[0]} x {self.geometry.image[1]} px: build it with img_size=... or with '
                'dynamic_img_size=True'
            )
        tokens = model._pos_embed(model.patch_embed(image))
        grid = (size[0] // patch[0], size[1] // patch[1])
        return model.norm_pre(model.patch_drop(tokens)), Context(grid)

    def embed_pixels(self, strip: Tensor) -> Tensor:
        embed = self.model.patch_embed
        return embed.norm(embed.proj(strip[None]).flatten(2).transpose(1, 2))[0]

    def block(self, tokens: Tensor, layer: int, context: Context, memory: Tensor | KeyValue | None = None) -> Tensor:
        block = self.model.blocks[layer]
        if memory is None:
            return block(tokens)
        if isinstance(memory, Tensor):
            memory = self.keys_values(memory, layer)
        tokens = tokens + block.drop_path1(block.ls1(_attend(block.attn, block.norm1(tokens), memory)))
        return tokens + block.drop_path2(block.ls2(block.mlp(block.norm2(tokens))))

    def keys_values(self, memory: Tensor, layer: int) -> KeyValue:
        block = self.model.blocks[layer]
        attn, width = block.attn, block.attn.attn_dim
        weight, bias = attn.qkv.weight[width:], attn.qkv.bias
        projected = F.linear(block.norm1(memory), weight, None if bias is None else bias[width:])
        # (..., P, 2 * D) -> (..., P, 2, heads, d) -> (..., 2, heads, P, d)
        key, value = projected.unflatten(-1, (2, attn.num_heads, attn.head_dim)).movedim(-4, -2).unbind(-4)
        return KeyValue(attn.k_norm(key), value)

    def first_rows(
        self, tokens: Tensor, layer: int, context: Context, memory: Tensor | KeyValue | None, rows: int
    ) -> Tensor | None:
        block = self.model.blocks[layer]
        if not _is_simple(block) or not is_unseen(block, self.model.norm):
            return None
        attn = block.attn
        if isinstance(memory, Tensor):
            memory = self.keys_values(memory, layer)
        x = attend_first(block.norm1(tokens), rows, attn.qkv.weight, attn.qkv.bias, attn.num_heads, memory)
        tokens = tokens[:, :rows] + block.ls1(attn.proj(attn.norm(x)))
        return tokens + block.ls2(block.mlp(block.norm2(tokens)))

    def module_at(self, site: Site) -> nn.Module:
        if site.layer is None:
            return self.model.get_submodule('patch_embed' if site.name == 'embed' else 'norm')
        return self.model.blocks[site.layer].get_submodule(IN_BLOCK[site.name])

    def finish(self, tokens: Tensor) -> Tensor:
        return self.model.norm(tokens)

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return self.model.fc_norm(feature)

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        return self.model.forward_head(tokens)


def _is_simple(block: nn.Module) -> bool:
    """Whether scores are products of what plain linear maps make of tokens: without norms of queries and keys."""
    if type(block) is not Block or type(block.attn) is not Attention:
        return False
    attn = block.attn
    return type(attn.qkv) is nn.Linear and attn.gate is None and isinstance(attn.k_norm, nn.Identity)


def _attend(attn: Attention, x: Tensor, memory: KeyValue) -> Tensor:
    """timm's attention of (B, M, D) to itself and to ``memory``."""
    batch, length, _ = x.shape
    query, key, value = attn.qkv(x).view(batch, length, 3, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4)
    query, key = attn.q_norm(query), attn.k_norm(key)
    x = attend(query, key, value, memory, attn.attn_drop.p if attn.training else 0.0)
    return attn.proj_drop(attn.proj(attn.norm(x)))
