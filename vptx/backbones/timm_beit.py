"""timm's transformers whose attention adds a bias to every score, by how far two patches are from each other: Beit
(Bao et al., "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022, https://arxiv.org/abs/2106.08254) and
VisionTransformerRelPos.

https://github.com/huggingface/pytorch-image-models, ``timm/models/beit.py``, ``vision_transformer_relpos.py``. A prompt
is nowhere: no bias, in its row and in its column.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Any, ClassVar

import torch
from timm.layers import RelPosBias, RelPosMlp
from timm.models.beit import Attention, Beit, Block
from timm.models.vision_transformer_relpos import RelPosAttention, RelPosBlock, VisionTransformerRelPos
from torch import Tensor, nn

from vptx.backbones.base import Context
from vptx.backbones.memory import SelfAttention
from vptx.backbones.spelling import ReplacedForwardError
from vptx.backbones.timm_vit import TimmViT
from vptx.registry import NETS


@NETS.register_module()
class TimmBeit(TimmViT):
    """timm's BEiT: BEiT and BEiT v2. It takes images of the one size that it was built for.

    Source: Bao et al., ICLR 2022, https://arxiv.org/abs/2106.08254.

    Args:
        model: a timm name such as ``'beitv2_base_patch16_224.in1k_ft_in22k'``, or a built model.
        **others: as of ``TimmViT``.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (Beit,)
    built_with: ClassVar[dict[str, Any]] = dict(num_classes=0)
    example: ClassVar[dict[str, Any]] = dict(model='beit_base_patch16_224', depth=2)

    replaced: Mapping[str, tuple[type[nn.Module], ...]] = {
        '': (Block,),
        'norm1': TimmViT.replaced['norm1'],
        'attn': (Attention,),
        'attn.qkv': (nn.Linear,),
        'attn.attn_drop': (nn.Dropout,),
    }

    shared_argument: ClassVar[str] = 'shared_rel_pos_bias'

    def is_known(self, module: nn.Module) -> bool:
        return type(module) in self.replaced[''] and type(module.attn) in self.replaced['attn']

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, (tokens, grid) = self.model, self._embed_patches(image)
        tokens = torch.cat([model.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        if model.pos_embed is not None:
            tokens = tokens + model.pos_embed
        return model.pos_drop(tokens), Context(grid, model.rel_pos_bias() if model.rel_pos_bias is not None else None)

    def admit(self, tokens: Tensor) -> Tensor:
        return tokens  # it has no norm there

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        block, length = self._block(layer), tokens.shape[1]
        if length == self.geometry.tokens:
            return block(tokens, **{self.shared_argument: context.positions})
        if self.is_spelt(layer):
            return self.spell(tokens, layer, context, None)
        bias = self._bias(layer, context)  # some draw, so it is made where it is needed
        if bias is None:
            return block(tokens)
        return self._without_table(block, layer)(tokens, **{self.shared_argument: self._widen(bias, length)})

    def _without_table(self, block: nn.Module, layer: int) -> nn.Module:
        """A block that shares all its modules, weights and hooks with ``block``, and whose attention adds the bias that
        it is given to no table: timm's tables are made for the tokens of an image alone."""
        if any('forward' in vars(module) for module in (block, block.attn)):
            raise ReplacedForwardError(self.geometry.name, layer)
        attn, block = copy(block.attn), copy(block)
        self._take_table(attn)
        block._modules = dict(block._modules, attn=attn)
        return block

    def _take_table(self, attn: nn.Module) -> None:
        """Of a copy."""
        attn._parameters = dict(attn._parameters, relative_position_bias_table=None)

    def _attention(self, layer: int, context: Context | None, length: int) -> SelfAttention:
        attention = super()._attention(layer, context, length)
        bias = None if context is None else self._bias(layer, context)
        if bias is None:
            return attention
        return replace(attention, scores=self._widen(bias, length))

    def _bias(self, layer: int, context: Context) -> Tensor | None:
        """(heads, K+N, K+N): from the layer's own table, and from the one for all layers."""
        attn, shared = self.model.blocks[layer].attn, context.positions
        if attn.relative_position_bias_table is None:
            return shared
        own = attn._get_rel_pos_bias()[0]
        return own if shared is None else own + shared

    def _widen(self, bias: Tensor, tokens: int) -> Tensor:
        """(heads, K+N, K+N) -> (heads, K+P+N, K+P+N): nought for P prompts after the prefix."""
        prefix = self.geometry.prefix
        prompts = tokens - bias.shape[1]
        columns = bias.new_zeros(bias.shape[0], bias.shape[1], prompts)
        bias = torch.cat([bias[:, :, :prefix], columns, bias[:, :, prefix:]], dim=2)
        rows = bias.new_zeros(bias.shape[0], prompts, tokens)
        return torch.cat([bias[:, :prefix], rows, bias[:, prefix:]], dim=1)


@NETS.register_module()
class TimmRelPos(TimmBeit):
    """timm's VisionTransformerRelPos: relative positions from a table or from an MLP, of each layer or of all.

    It takes images of the one size that it was built for.

    Source: timm, after Bao et al., ICLR 2022, https://arxiv.org/abs/2106.08254, and Liu et al. (Swin V2), CVPR 2022,
    https://arxiv.org/abs/2111.09883.

    Args:
        model: a timm name such as ``'vit_relpos_base_patch16_224.sw_in1k'``, or a built model.
        **others: as of ``TimmViT``.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (VisionTransformerRelPos,)
    example: ClassVar[dict[str, Any]] = dict(model='vit_relpos_small_patch16_224', depth=2)
    replaced: Mapping[str, tuple[type[nn.Module], ...]] = {
        **TimmViT.replaced,
        '': (RelPosBlock,),
        'attn': (RelPosAttention,),
        'attn.rel_pos': (RelPosBias, RelPosMlp),
    }
    shared_argument: ClassVar[str] = 'shared_rel_pos'

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, (tokens, grid) = self.model, self._embed_patches(image)
        if model.cls_token is not None:
            tokens = torch.cat([model.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        return tokens, Context(grid, None if model.shared_rel_pos is None else model.shared_rel_pos.get_bias())

    def _take_table(self, attn: nn.Module) -> None:
        attn._modules = dict(attn._modules, rel_pos=None)

    def _bias(self, layer: int, context: Context) -> Tensor | None:
        own, shared = self.model.blocks[layer].attn.rel_pos, context.positions
        bias = shared if own is None else own.get_bias()
        return None if bias is None else bias[0]
