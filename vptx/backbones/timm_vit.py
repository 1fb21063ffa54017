"""timm's VisionTransformer, in all its forms: plain, distilled (two prefix tokens), CLIP (a norm in front), registers,
no class token, any image size.

https://github.com/huggingface/pytorch-image-models, ``timm/models/vision_transformer.py`` and ``deit.py``.
"""

from collections.abc import Sequence
from difflib import get_close_matches

import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn

from vptx.backbones.base import Context, KeyValue, Net
from vptx.geometry import Geometry
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
        # Door 3 needs the attention spelt out (below); a block of another kind keeps its doors 1 and 2.
        plain = all(type(b) is Block and type(b.attn) is Attention and b.attn.gate is None for b in model.blocks)
        self.geometry = Geometry(
            name=name or '.'.join(filter(None, (config.get('architecture'), config.get('tag')))),
            widths=(model.embed_dim,) * len(model.blocks),
            patch=tuple(embed.patch_size),
            image=tuple(embed.img_size),
            prefix=model.num_prefix_tokens,
            tokens=model.num_prefix_tokens + embed.num_patches,
            mean=tuple(config['mean']),
            std=tuple(config['std']),
            doors=frozenset({'image', 'tokens', 'logits'} | ({'memory'} if plain else set())),
        )
        self.has_class_token = model.cls_token is not None
        self.readout = {'token': 'cls', 'avg': 'mean'}.get(model.global_pool, 'logits')

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

    def finish(self, tokens: Tensor) -> Tensor:
        return self.model.norm(tokens)

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return self.model.fc_norm(feature)

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        return self.model.forward_head(tokens)


def _attend(attn: Attention, x: Tensor, memory: KeyValue) -> Tensor:
    """timm's attention of (B, M, D) to itself and to ``memory``, whose keys come first; softmax asks no order."""
    batch, length, _ = x.shape
    query, key, value = attn.qkv(x).view(batch, length, 3, attn.num_heads, attn.head_dim).permute(2, 0, 3, 1, 4)
    query, key = attn.q_norm(query), attn.k_norm(key)
    key = torch.cat([memory.key.expand(batch, -1, -1, -1), key], dim=2)
    value = torch.cat([memory.value.expand(batch, -1, -1, -1), value], dim=2)
    dropout = attn.attn_drop.p if attn.training else 0.0
    x = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
    return attn.proj_drop(attn.proj(attn.norm(x.transpose(1, 2).reshape(batch, length, attn.attn_dim))))
