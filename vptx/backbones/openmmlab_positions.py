"""mmpretrain's vision transformers with positions inside attention: ViTEVA02, which rotates queries and keys, and
BEiTViT, which adds a bias to the scores.

``mmpretrain/models/backbones/vit_eva02.py``, ``beit.py``. A prompt has no position: no rotation, and no bias in its row
and column. Both libraries' attention takes the tokens of an image alone, so with prompts it is computed from weights.
"""

from copy import copy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.backbones.base import Context, kind_of
from vptx.backbones.memory import SelfAttention, Spelling, same
from vptx.backbones.openmmlab_vit import MMPretrainViT
from vptx.backbones.spelling import ReplacedForwardError
from vptx.registry import NETS

__all__ = ['MMPretrainBEiT', 'MMPretrainEVA02']


class _Positioned(MMPretrainViT):
    """Layers that are called with the tokens of an image, and computed from weights with prompts among them."""

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        if tokens.shape[1] == self.geometry.prefix + context.grid[0] * context.grid[1]:
            return self._run(tokens, layer, context)
        if self.is_spelt(layer):
            return self.spell(tokens, layer, context, None)
        block = self.module_of(layer)
        if any('forward' in vars(part) for part in (block, block.attn)):
            raise ReplacedForwardError(self.geometry.name, layer)
        # They share all modules, weights and hooks with the library's.
        attn, block = copy(block.attn), copy(block)
        block._modules = dict(block._modules, attn=attn)
        return self._run_longer(block, attn, tokens, context)

    def _run(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        """The library's own forward of a layer."""
        raise NotImplementedError

    def _run_longer(self, block: nn.Module, attn: nn.Module, tokens: Tensor, context: Context) -> Tensor:
        """That of a copy, whose attention is a copy too, with prompts among the tokens."""
        raise NotImplementedError


@NETS.register_module()
class MMPretrainEVA02(_Positioned):
    """mmpretrain's ViTEVA02: rotary positions, which prompts do not have.

    Source: Fang et al., "EVA-02", 2023, https://arxiv.org/abs/2303.11331.

    Args:
        model: a backbone, built.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(type='mmpretrain.ViTEVA02', arch='t'))
    path = 'mmpretrain.models.backbones.vit_eva02.ViTEVA02'

    def _find_replaced(self) -> dict[str, tuple]:
        here = 'mmpretrain.models.backbones.vit_eva02'
        return {
            '': (kind_of(f'{here}.EVA02EndcoderLayer'),),
            'norm1': (nn.LayerNorm,),
            'attn': (kind_of(f'{here}.AttentionWithRoPE'),),
            'attn.rope': (kind_of('mmpretrain.models.utils.RotaryEmbeddingFast'),),
            'attn.qkv': (nn.Linear,),
            'attn.attn_drop': (nn.Dropout,),
        }

    def is_known(self, module: nn.Module) -> bool:
        kinds = self.replaced
        return type(module) in kinds[''] and type(module.attn) in kinds['attn']

    def _run(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        return self.module_of(layer)(tokens, context.grid)

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        block = self.module_of(layer)
        attn = block.attn
        turn = same if context is None or not attn.rope else _OfPatches(attn.rope, context.grid)
        dropout = attn.attn_drop.p if attn.training else 0.0
        return Spelling(
            block.norm1,
            SelfAttention(attn.qkv.weight, attn.qkv.bias, attn.num_heads, dropout, turn=turn),
            lambda x: block.drop_path(attn.proj_drop(attn.proj(x))),
            lambda x: x + block.drop_path(block.mlp(block.norm2(x))),
        )

    def _run_longer(self, block: nn.Module, attn: nn.Module, tokens: Tensor, context: Context) -> Tensor:
        if attn.rope:
            attn._modules = dict(attn._modules, rope=_OfPatches(attn.rope, context.grid))
        return block(tokens, context.grid)


class _OfPatches(nn.Module):
    """Rotations of the patches, which are the last of the tokens (B, heads, M, d)."""

    def __init__(self, rope: nn.Module, grid: tuple[int, int]) -> None:
        super().__init__()
        self.rope, self.grid = rope, grid

    def forward(self, x: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        first = x.shape[2] - self.grid[0] * self.grid[1]
        return torch.cat([x[:, :, :first], self.rope(x[:, :, first:], self.grid)], dim=2).type_as(x)


@NETS.register_module()
class MMPretrainBEiT(_Positioned):
    """mmpretrain's BEiTViT: a bias for relative positions. It takes images of the one size that it was built for.

    Source: Bao et al., ICLR 2022, https://arxiv.org/abs/2106.08254.

    Args:
        model: a backbone, built.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(type='mmpretrain.BEiTViT', arch='deit-tiny'))
    path = 'mmpretrain.models.backbones.beit.BEiTViT'

    def __init__(self, model: nn.Module) -> None:
        if self.knows(model):
            attentions = [layer.attn for layer in model.layers]
            self.takes_any_size = model.rel_pos_bias is None and not any(attn.use_rel_pos_bias for attn in attentions)
            # Where its biases are apart, attention takes the weights of this map.
            self.uncalled = frozenset({'qkv'} if any(attn.bias == 'qv_bias' for attn in attentions) else ())
        super().__init__(model)

    def _find_replaced(self) -> dict[str, tuple]:
        return {
            '': (kind_of('mmpretrain.models.backbones.beit.BEiTTransformerEncoderLayer'),),
            'norm1': (nn.LayerNorm,),
            'attn': (kind_of('mmpretrain.models.utils.BEiTAttention'),),
            'attn.qkv': (nn.Linear,),
            'attn.attn_drop': (nn.Dropout,),
        }

    def is_known(self, module: nn.Module) -> bool:
        return type(module) in self.replaced[''] and type(module.attn) in self.replaced['attn']

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, facts, size = self.model, self.geometry, tuple(image.shape[-2:])
        if size != facts.image and not facts.any_size:
            raise ValueError(
                f'an image of {size[0]} x {size[1]} px, but {facts.name} was built for {facts.image[0]} x '
                f'{facts.image[1]} px: build it with img_size=...'
            )
        tokens, grid = model.patch_embed(image)
        if model.cls_token is not None:
            tokens = torch.cat([model.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        if model.pos_embed is not None:
            tokens = tokens + model.resize_pos_embed(
                model.pos_embed,
                model.patch_resolution,
                grid,
                mode=model.interpolate_mode,
                num_extra_tokens=model.num_extra_tokens,
            )
        shared = None if model.rel_pos_bias is None else model.rel_pos_bias()
        return model.drop_after_pos(tokens), Context(grid, shared)

    def _run(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        return self.module_of(layer)(tokens, context.positions)

    def _run_longer(self, block: nn.Module, attn: nn.Module, tokens: Tensor, context: Context) -> Tensor:
        scores = self._scores(attn, context.positions, tokens.shape[1])
        attn._parameters = dict(attn._parameters, relative_position_bias_table=None)
        return block(tokens, scores)

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        block = self.module_of(layer)
        attn = block.attn
        bias = attn.qkv.bias
        if attn.bias == 'qv_bias':
            bias = torch.cat([attn.q_bias, torch.zeros_like(attn.v_bias), attn.v_bias])
        scores = None if context is None else self._scores(attn, context.positions, length)
        dropout = attn.attn_drop.p if attn.training else 0.0

        def project(x: Tensor) -> Tensor:
            x = attn.proj_drop(attn.proj(x))
            return block.drop_path(x if block.gamma_1 is None else block.gamma_1 * x)

        def feed(x: Tensor) -> Tensor:
            y = block.ffn(block.ln2(x))
            return x + block.drop_path(y if block.gamma_2 is None else block.gamma_2 * y)

        return Spelling(
            block.ln1, SelfAttention(attn.qkv.weight, bias, attn.num_heads, dropout, scores=scores), project, feed
        )

    def _scores(self, attn: nn.Module, shared: Tensor | None, length: int) -> Tensor | None:
        """(heads, M, M) of the layer's own table and of the one for all layers; nought for prompts, if any."""
        found = shared
        if attn.relative_position_bias_table is not None:
            index = attn.relative_position_index
            own = attn.relative_position_bias_table[index.flatten()].unflatten(0, tuple(index.shape)).permute(2, 0, 1)
            found = own if shared is None else own + shared
        if found is None:
            return None
        prefix, prompts = self.geometry.prefix, length - found.shape[-1]
        for side in (1, 2):
            first, rest = found.split([prefix, found.shape[side] - prefix], dim=side)
            found = torch.cat([first, F.pad(rest, (prompts, 0) if side == 2 else (0, 0, prompts, 0))], dim=side)
        return found
