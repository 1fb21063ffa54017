"""timm's Beit: BEiT and BEiT v2. Bao et al., "BEiT: BERT Pre-Training of Image Transformers", ICLR 2022,
https://arxiv.org/abs/2106.08254

https://github.com/huggingface/pytorch-image-models, ``timm/models/beit.py``. Its attention adds a learnt bias to every
score, by how far two patches are from each other. A prompt is nowhere: no bias, in its row and in its column.
"""

from typing import Any, ClassVar

import torch
from timm.models.beit import Attention, Beit, Block
from torch import Tensor, nn

from vptx.backbones.base import Context, KeyValue
from vptx.backbones.timm_vit import TimmViT, attend_to_memory
from vptx.geometry import Site
from vptx.registry import NETS


@NETS.register_module()
class TimmBeit(TimmViT):
    """A BEiT of timm, taken apart: BEiT and BEiT v2. It takes images of the one size that it was built for.

    Args:
        model: a timm name such as ``'beitv2_base_patch16_224.in1k_ft_in22k'``, or a built model.
        **others: as of :class:`~vptx.backbones.TimmViT`.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (Beit,)
    built_with: ClassVar[dict[str, Any]] = dict(num_classes=0)
    example: ClassVar[dict[str, Any]] = dict(model='beit_base_patch16_224', depth=2)

    def _is_plain(self, block: nn.Module) -> bool:
        return type(block) is Block and type(block.attn) is Attention

    def _find_sites(self, widths: tuple[int, ...]) -> tuple[Site, ...]:
        return ()  # its attention takes the weights of its maps, and never calls them

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, grid = self.model, self._grid(image)
        tokens = model.patch_embed(image)
        tokens = torch.cat([model.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        if model.pos_embed is not None:
            tokens = tokens + model.pos_embed
        return model.pos_drop(tokens), Context(grid, model.rel_pos_bias() if model.rel_pos_bias is not None else None)

    def block(self, tokens: Tensor, layer: int, context: Context, memory: Tensor | KeyValue | None = None) -> Tensor:
        block, shared = self.model.blocks[layer], context.positions
        own = block.attn.relative_position_bias_table is not None
        # timm's block knows the tokens of an image alone: what has no bias in its tables is spelt out.
        if memory is None and (tokens.shape[1] == self.geometry.tokens or not (own or shared is not None)):
            return block(tokens, shared_rel_pos_bias=shared)
        memory = self._ready(tokens.new_zeros(0, tokens.shape[2]) if memory is None else memory, layer)
        biases = [block.attn._get_rel_pos_bias()[0]] if own else []
        biases += [shared] if shared is not None else []
        bias = self._widen(sum(biases), tokens.shape[1]) if biases else None
        return attend_to_memory(block, tokens, memory, bias=bias)

    def _widen(self, bias: Tensor, tokens: int) -> Tensor:
        """(heads, K+N, K+N) -> (heads, K+P+N, K+P+N): nought for P prompts behind the prefix."""
        prefix = self.geometry.prefix
        patches = bias.shape[1] - prefix
        own = torch.cat([torch.arange(prefix), torch.arange(tokens - patches, tokens)]).to(bias.device)
        wide = bias.new_zeros(len(bias), tokens, tokens)
        wide[:, own[:, None], own] = bias
        return wide
