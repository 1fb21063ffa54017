"""timm's Eva: EVA, EVA-02, DINOv3, Perception Encoder, ViTs with rotary positions.

https://github.com/huggingface/pytorch-image-models, ``timm/models/eva.py``. Rotary positions: Su et al., "RoFormer",
2021, https://arxiv.org/abs/2104.09864. Each pair of components of a query or a key of a patch is turned by an angle
that its place in the image gives, so that the score of two patches depends on how far they are from each other. Prefix
tokens have no place and are not turned, and no more are prompts.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from timm.layers import AttentionRope, apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock
from torch import Tensor, nn

from vptx.backbones.base import Context
from vptx.backbones.memory import SelfAttention
from vptx.backbones.timm_vit import TimmViT
from vptx.registry import NETS


@NETS.register_module()
class TimmEva(TimmViT):
    """timm's Eva: EVA-02, DINOv3, Perception Encoder.

    Source: Fang et al., "EVA-02", 2023, https://arxiv.org/abs/2303.11331; rotary positions by Su et al., 2021,
    https://arxiv.org/abs/2104.09864.

    Args:
        model: a timm name such as ``'vit_base_patch16_dinov3.lvd1689m'``, or a built model.
        **others: as of ``TimmViT``.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (Eva,)
    example: ClassVar[dict[str, Any]] = dict(model='eva02_base_patch16_clip_224', depth=2)

    replaced: Mapping[str, tuple[type[nn.Module], ...]] = {
        **TimmViT.replaced,
        '': (EvaBlock,),
        'attn': (EvaAttention, AttentionRope),
        'attn.q_proj': (nn.Linear,),
        'attn.k_proj': (nn.Linear,),
        'attn.v_proj': (nn.Linear,),
    }

    def is_known(self, module: nn.Module) -> bool:
        if type(module) is not EvaBlock or type(module.attn) not in self.replaced['attn']:
            return False
        return module.attn.gate is None and getattr(module.attn, 'num_kv_groups', 1) == 1

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, (patches, grid) = self.model, self._embed_patches(image)
        tokens, rotations = model._pos_embed(patches)
        return model.norm_pre(tokens), Context(grid, rotations)

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        return self._block(layer)(tokens, rope=self._turns(tokens.shape[1], layer, context))

    def _attention(self, layer: int, context: Context | None, length: int) -> SelfAttention:
        attention = super()._attention(layer, context, length)
        turns = None if context is None else self._turns(length, layer, context)
        if turns is None:
            return attention
        prefix, half = self.geometry.prefix, getattr(self.model.blocks[layer].attn, 'rotate_half', False)

        def turn(x: Tensor) -> Tensor:
            turned = apply_rot_embed_cat(x[:, :, prefix:], turns, half=half)
            return torch.cat([x[:, :, :prefix], turned], dim=2).type_as(x)

        return replace(attention, turn=turn)

    def _turns(self, length: int, layer: int, context: Context) -> Tensor | None:
        """Sines and cosines (..., P+N, 2 * d) for what follows the prefix: by no angle for the prompts among it."""
        turns = context.positions
        if turns is None:
            return None
        if getattr(self.model, 'rope_mixed', getattr(self.model, 'rope_is_mixed', False)):  # of each layer its own
            turns = turns[layer]
        prompts = length - self.geometry.prefix - turns.shape[-2]
        if prompts == 0:
            return turns
        none = turns.new_zeros(*turns.shape[:-2], prompts, turns.shape[-1] // 2)
        return torch.cat([torch.cat([none, torch.ones_like(none)], dim=-1), turns], dim=-2)
