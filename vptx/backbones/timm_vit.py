"""timm's VisionTransformer, in all its forms: plain, distilled (two prefix tokens), DeiT III, CLIP (a norm in front),
registers, no class token, any image size.

https://github.com/huggingface/pytorch-image-models, ``timm/models/vision_transformer.py`` and ``deit.py``. What EVA and
BEiT share with it is here too: a block spelt out, so that its attention can see a memory.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn

from vptx.backbones.base import Context, KeyValue, is_unseen
from vptx.backbones.linear import FusedLinear
from vptx.backbones.memory import attend, attend_first, project
from vptx.backbones.timm_net import TimmTransformer
from vptx.geometry import Geometry
from vptx.registry import NETS

_same = nn.Identity()


@NETS.register_module()
class TimmViT(TimmTransformer):
    """A vision transformer of timm, taken apart: plain, distilled, DeiT III, CLIP, registers, no class token.

    Args:
        model: a timm name such as ``'vit_base_patch16_224.orig_in21k'``, or a built model.
        **others: of :class:`~vptx.backbones.timm_net.TimmNet`, and of ``timm.create_model`` for a name: ``img_size``,
            ``num_classes`` (0 without), ``depth``, ... Positions are interpolated at any image size
            (``dynamic_img_size=True``), unless told otherwise.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (VisionTransformer,)
    built_with: ClassVar[dict[str, Any]] = dict(num_classes=0, dynamic_img_size=True)
    example: ClassVar[dict[str, Any]] = dict(model='vit_tiny_patch16_224', depth=2)

    def __init__(self, model: str | nn.Module, **others) -> None:
        super().__init__(model, **others)
        model = self.model
        embed = model.patch_embed
        # Door 3 needs the attention spelt out (below), and sites their usual meaning; a block of another kind keeps its
        # doors 1 and 2.
        plain = all(self._is_plain(block) for block in model.blocks)
        width = model.embed_dim
        sites = self._find_sites((width,) * len(model.blocks)) if plain else ()
        self.geometry = Geometry(
            widths=(width,) * len(model.blocks),
            patch=tuple(embed.patch_size),
            image=tuple(embed.img_size),
            prefix=model.num_prefix_tokens,
            tokens=model.num_prefix_tokens + embed.num_patches,
            doors=frozenset(
                {'image', 'tokens', 'logits'} | ({'memory'} if plain else set()) | ({'inside'} if sites else set())
            ),
            sites=sites,
            any_size=getattr(model, 'dynamic_img_size', False),
            **self.facts,
        )
        self.has_class_token = model.cls_token is not None
        self.readout = {'token': 'cls', 'avg': 'mean'}.get(str(model.global_pool), 'logits')
        if model.global_pool == 'token' and type(model) in (VisionTransformer, VisionTransformerDistilled):
            self.own_rows = int(model.num_prefix_tokens)

    def _is_plain(self, block: nn.Module) -> bool:
        """Whether :func:`attend_to_memory` is what this block computes."""
        return type(block) is Block and type(block.attn) is Attention and block.attn.gate is None

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, context = self.model, Context(self._grid(image))
        return model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(image)))), context

    def block(self, tokens: Tensor, layer: int, context: Context, memory: Tensor | KeyValue | None = None) -> Tensor:
        block = self.model.blocks[layer]
        if memory is None:
            return block(tokens)
        return attend_to_memory(block, tokens, self._ready(memory, layer))

    def _ready(self, memory: Tensor | KeyValue, layer: int) -> KeyValue:
        return self.keys_values(memory, layer) if isinstance(memory, Tensor) else memory

    def keys_values(self, memory: Tensor, layer: int) -> KeyValue:
        block = self.model.blocks[layer]
        key, value = project(block.norm1(memory), *_projection(block.attn), block.attn.num_heads, first=1)
        return KeyValue(getattr(block.attn, 'k_norm', _same)(key), value)

    def key_value_weights(self, layer: int) -> tuple[Tensor, Tensor]:
        if 'memory' not in self.geometry.doors:  # a block of another kind
            return super().key_value_weights(layer)
        _, key, value = _projection(self.model.blocks[layer].attn)[0].chunk(3)
        return key, value

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

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return self.model.fc_norm(feature)

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        return self.model.forward_head(tokens)


def attend_to_memory(
    block: nn.Module,
    tokens: Tensor,
    memory: KeyValue,
    rotate: Callable[[Tensor], Tensor] = _same,
    bias: Tensor | None = None,
) -> Tensor:
    """timm's block on (B, M, D), whose attention sees ``memory`` too, with its keys in front: softmax asks no order.

    Args:
        rotate: gives queries and keys of the tokens (B, heads, M, d) their positions.
        bias: added to the scores of the tokens' own keys: (heads, M, M).
    """
    tokens = tokens + block.drop_path1(
        _scaled(block, 1, _attend(block.attn, block.norm1(tokens), memory, rotate, bias))
    )
    return tokens + block.drop_path2(_scaled(block, 2, block.mlp(block.norm2(tokens))))


def _attend(
    attn: nn.Module, x: Tensor, memory: KeyValue, rotate: Callable[[Tensor], Tensor], bias: Tensor | None
) -> Tensor:
    query, key, value = project(x, *_projection(attn), attn.num_heads)
    query = rotate(getattr(attn, 'q_norm', _same)(query))
    key = rotate(getattr(attn, 'k_norm', _same)(key))
    x = attend(query, key, value, memory, attn.attn_drop.p if attn.training else 0.0, bias)
    return attn.proj_drop(attn.proj(getattr(attn, 'norm', _same)(x)))


def _projection(attn: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weights (3 * heads * d, D) and biases of queries, keys and values, in whichever of its ways timm keeps them."""
    if attn.qkv is None:
        parts = attn.q_proj, attn.k_proj, attn.v_proj
        biases = [p.weight.new_zeros(p.out_features) if p.bias is None else p.bias for p in parts]
        return torch.cat([p.weight for p in parts]), torch.cat(biases)
    if getattr(attn, 'q_bias', None) is not None:
        return attn.qkv.weight, torch.cat([attn.q_bias, attn.k_bias, attn.v_bias])
    return attn.qkv.weight, attn.qkv.bias


def _scaled(block: nn.Module, branch: int, x: Tensor) -> Tensor:
    """``x`` by the layer scale of a branch: a module in a ViT, a parameter or None in EVA and BEiT."""
    if hasattr(block, f'ls{branch}'):
        return getattr(block, f'ls{branch}')(x)
    scale = getattr(block, f'gamma_{branch}')
    return x if scale is None else scale * x


def _is_simple(block: nn.Module) -> bool:
    """Whether scores are products of what plain linear maps make of tokens: without norms of queries and keys."""
    if type(block) is not Block or type(block.attn) is not Attention:
        return False
    attn = block.attn
    return type(attn.qkv) in (nn.Linear, FusedLinear) and attn.gate is None and isinstance(attn.k_norm, nn.Identity)
