"""timm's Eva: EVA, EVA-02, DINOv3, Perception Encoder, ViTs with rotary positions.

https://github.com/huggingface/pytorch-image-models, ``timm/models/eva.py``. Rotary positions: Su et al., "RoFormer",
2021, https://arxiv.org/abs/2104.09864. Each pair of components of a query or a key of a patch is turned by an angle
that its place in the image gives, so that the score of two patches depends on how far they are from each other. Prefix
tokens have no place and are not turned, and no more are prompts.
"""

from typing import Any, ClassVar

import torch
from timm.layers import AttentionRope, apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock
from torch import Tensor, nn

from vptx.backbones.base import Context, KeyValue
from vptx.backbones.timm_vit import TimmViT, attend_to_memory
from vptx.geometry import Site
from vptx.registry import NETS


@NETS.register_module()
class TimmEva(TimmViT):
    """An Eva of timm, taken apart: EVA-02, DINOv3, Perception Encoder.

    Args:
        model: a timm name such as ``'vit_base_patch16_dinov3.lvd1689m'``, or a built model.
        **others: as of :class:`~vptx.backbones.TimmViT`.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (Eva,)
    example: ClassVar[dict[str, Any]] = dict(model='eva02_base_patch16_clip_224', depth=2)

    def _is_plain(self, block: nn.Module) -> bool:
        attn = block.attn
        known = type(block) is EvaBlock and type(attn) in (EvaAttention, AttentionRope)
        return known and attn.gate is None and getattr(attn, 'num_kv_groups', 1) == 1

    def _find_sites(self, widths: tuple[int, ...]) -> tuple[Site, ...]:
        return ()  # its attention takes the weights of its maps, and never calls them

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, grid = self.model, self._grid(image)
        tokens, rotations = model._pos_embed(model.patch_embed(image))
        return model.norm_pre(tokens), Context(grid, rotations)

    def block(self, tokens: Tensor, layer: int, context: Context, memory: Tensor | KeyValue | None = None) -> Tensor:
        block = self.model.blocks[layer]
        turns = self._turns(tokens, layer, context)
        if memory is None:
            return block(tokens, rope=turns)

        def rotate(x: Tensor) -> Tensor:
            if turns is None:
                return x
            prefix, half = x[:, :, : self.geometry.prefix], block.attn.rotate_half
            turned = apply_rot_embed_cat(x[:, :, self.geometry.prefix :], turns, half=half)
            return torch.cat([prefix, turned], dim=2).type_as(x)

        return attend_to_memory(block, tokens, self._ready(memory, layer), rotate)

    def _turns(self, tokens: Tensor, layer: int, context: Context) -> Tensor | None:
        """Sines and cosines (..., P+N, 2 * d) for what follows the prefix: by no angle for the prompts among it."""
        turns = context.positions
        if turns is None:
            return None
        if self.model.rope_mixed:  # of each layer its own
            turns = turns[layer]
        prompts = tokens.shape[1] - self.geometry.prefix - turns.shape[-2]
        if prompts == 0:
            return turns
        none = turns.new_zeros(*turns.shape[:-2], prompts, turns.shape[-1] // 2)
        return torch.cat([torch.cat([none, torch.ones_like(none)], dim=-1), turns], dim=-2)
