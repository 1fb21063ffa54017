"""BEiT of Hugging Face's transformers: Bao et al., ICLR 2022, https://arxiv.org/abs/2106.08254

https://github.com/huggingface/transformers, ``src/transformers/models/beit/modeling_beit.py``. Its attention adds a
learnt bias to every score, by how far two patches are from each other, from a table of each layer, or one for all, or
both. A prompt has no position: no bias, in its row and in its column.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.backbones.base import Context, kind_of
from vptx.backbones.hugging_face import HALF, Family
from vptx.backbones.hugging_face_vit import HuggingFaceViT
from vptx.backbones.memory import SelfAttention, Spelling
from vptx.backbones.spelling import ReplacedForwardError
from vptx.registry import NETS

__all__ = ['HuggingFaceBeit']


@NETS.register_module()
class HuggingFaceBeit(HuggingFaceViT):
    """BEiT of Hugging Face's transformers: BeitModel and BeitForImageClassification.

    Source: Bao et al., ICLR 2022, https://arxiv.org/abs/2106.08254.

    Args:
        model: as of ``HuggingFaceNet``.
        **others: as of ``HuggingFaceNet``.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(model_type='beit', num_hidden_layers=2))
    families: ClassVar[Sequence[Family]] = (
        Family(
            'beit',
            'BeitModel',
            'BeitLayer',
            'BeitAttention',
            ('BeitForImageClassification',),
            HALF,
            'layers',
            'embeddings.patch_embeddings.projection',
            ('layernorm_before', 'attention', 'o_proj', 'layernorm_after'),
        ),
    )

    def _find_readout(self) -> str:
        pooler = self.encoder.pooler
        return 'mean' if pooler is not None and pooler.layernorm is not None else 'cls'

    def finish_pooled(self, feature: Tensor) -> Tensor:
        pooler = self.encoder.pooler
        return feature if pooler is None or pooler.layernorm is None else pooler.layernorm(feature)

    def output(self, tokens: Tensor, image: Tensor | None, states: tuple[Tensor, ...] | None) -> Any:
        kind: Any = kind_of(self.family.path('BeitModelOutputWithPooling'))
        return kind(last_hidden_state=tokens, pooler_output=self.pool(tokens), hidden_states=states)

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        tokens, context = super().embed(image)
        shared = self.encoder.shared_position_bias
        return tokens, context if shared is None else replace(context, positions=shared(context.grid)[0])

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        block, length = self.module_of(layer), tokens.shape[1]
        own = block.relative_position_bias
        patch = self.config.patch_size
        if own is None or length == self.geometry.prefix + context.grid[0] * context.grid[1]:
            shared = None if context.positions is None else self._widen(context.positions, length)[None]
            return block(tokens, shared, resolution=tuple(side * patch for side in context.grid))
        if 'forward' in vars(block):
            raise ReplacedForwardError(self.geometry.name, layer)
        # All modules and hooks of the layer but its table, which is made for the tokens of an image alone.
        bias = self._bias(block, context)
        assert bias is not None
        block = copy(block)
        block._modules = dict(block._modules, relative_position_bias=None)
        return block(tokens, self._widen(bias, length)[None])

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        how = super().spelling(layer, None if context is None else replace(context, positions=None), length)
        bias = None if context is None else self._bias(self.module_of(layer), context)
        if bias is None:
            return how
        attention = how.attention
        assert isinstance(attention, SelfAttention)
        return how._replace(attention=replace(attention, scores=self._widen(bias, length)))

    def _bias(self, block: nn.Module, context: Context) -> Tensor | None:
        """(heads, K+N, K+N): from the layer's own table, and from the one for all layers."""
        own, shared = block.relative_position_bias, context.positions
        if own is None:
            return shared
        bias = own(context.grid)[0]
        return bias if shared is None else bias + shared

    def _widen(self, bias: Tensor, tokens: int) -> Tensor:
        """(heads, K+N, K+N) -> (heads, K+P+N, K+P+N): nought for P prompts after the prefix."""
        prefix, prompts = self.geometry.prefix, tokens - bias.shape[-1]
        if not prompts:
            return bias
        rows = torch.cat([F.pad(bias[:, :prefix], (0, 0, 0, prompts)), bias[:, prefix:]], dim=1)
        return torch.cat([F.pad(rows[..., :prefix], (0, prompts)), rows[..., prefix:]], dim=2)
