"""timm's VisionTransformer, in all its forms: plain, distilled (two prefix tokens), DeiT III, CLIP (a first norm),
registers, no class token, any image size.

https://github.com/huggingface/pytorch-image-models, ``timm/models/vision_transformer.py`` and ``deit.py``. What EVA and
BEiT share with it is here too: a block computed from weights, so that its attention can see a memory.
"""

from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar

import torch
from timm.layers import HybridEmbed, LayerNorm, LayerNormFp32, RmsNorm, RmsNormFp32
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn

from vptx.backbones.base import Context
from vptx.backbones.memory import Memory, SelfAttention, Spelling, attend_first, same
from vptx.backbones.spelling import is_unseen
from vptx.backbones.timm_net import TimmTransformer
from vptx.geometry import Geometry
from vptx.registry import NETS

#: Norms of each token by itself.
NORMS = (nn.LayerNorm, LayerNorm, LayerNormFp32, RmsNorm, RmsNormFp32, nn.Identity)


@NETS.register_module()
class TimmViT(TimmTransformer):
    """timm's VisionTransformer: plain, distilled, DeiT III, CLIP, registers, no class token.

    Args:
        model: a timm name such as ``'vit_base_patch16_224.orig_in21k'``, or a built model.
        **others: of ``TimmNet``, and of ``timm.create_model`` for a name: ``img_size``,
            ``num_classes`` (0 without), ``depth``, ... Positions are interpolated at any image size
            (``dynamic_img_size=True``), by default.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (VisionTransformer, VisionTransformerDistilled)
    built_with: ClassVar[dict[str, Any]] = dict(num_classes=0, dynamic_img_size=True)
    example: ClassVar[dict[str, Any]] = dict(model='vit_tiny_patch16_224', depth=2)
    replaced: Mapping[str, tuple[type[nn.Module], ...]] = {
        '': (Block,),
        'norm1': NORMS,
        'attn': (Attention,),
        'attn.qkv': (nn.Linear,),
        'attn.q_norm': NORMS,
        'attn.k_norm': NORMS,
        'attn.attn_drop': (nn.Dropout,),
    }

    def __init__(self, model: str | nn.Module, **others) -> None:
        super().__init__(model, **others)
        model = self.model
        embed = self._patch_embed
        # Door 3 needs the attention computed from weights, and sites their usual meaning; a block of another kind keeps
        # its doors 1 and 2.
        plain = all(self.is_known(block) for block in model.blocks)
        width, image = model.embed_dim, self._image_size
        rows, columns = embed.dynamic_feat_size(image)
        sites = self.find_sites((width,) * len(model.blocks)) if plain else ()
        self.geometry = Geometry(
            widths=(width,) * len(model.blocks),
            patch=tuple(embed.feat_ratio(as_scalar=False)),
            image=image,
            prefix=model.num_prefix_tokens,
            tokens=model.num_prefix_tokens + rows * columns,
            doors=frozenset(
                {'image', 'tokens', 'logits'} | ({'memory'} if plain else set()) | ({'inside'} if sites else set())
            ),
            sites=sites,
            heads=tuple(block.attn.num_heads for block in model.blocks) if plain else (),
            # Of a quantised layer, too, whose weight is no tensor; that of another library's layer may have no width.
            head_widths=tuple(
                getattr(block.attn.proj, 'in_features', width) // block.attn.num_heads for block in model.blocks
            )
            if plain
            else (),
            any_size=self._takes_any_size,
            **self.facts,
        )
        assert rows * columns == getattr(embed, 'num_patches', rows * columns), self.geometry.name
        self.has_class_token = getattr(embed, 'cls_token', getattr(model, 'cls_token', None)) is not None
        self.readout = {'token': 'cls', 'avg': 'mean'}.get(str(model.global_pool), 'logits')
        if self.readout == 'mean' and getattr(model, 'pool_include_prefix', False):
            self.readout = 'logits'
        if model.global_pool == 'token' and type(model) in (VisionTransformer, VisionTransformerDistilled):
            self.own_rows = int(model.num_prefix_tokens)

    @property
    def _image_size(self) -> tuple[int, int]:
        return tuple(self._patch_embed.img_size)

    @property
    def _takes_any_size(self) -> bool:
        # Without positions, a stem of convolutions takes any.
        free = getattr(self.model, 'pos_embed', self) is None and isinstance(self._patch_embed, HybridEmbed)
        return getattr(self.model, 'dynamic_img_size', False) or free

    def is_known(self, module: nn.Module) -> bool:
        return type(module) is Block and type(module.attn) is Attention and module.attn.gate is None

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, (patches, grid) = self.model, self._embed_patches(image)
        return model.norm_pre(model.patch_drop(model._pos_embed(patches))), Context(grid)

    def admit(self, tokens: Tensor) -> Tensor:
        return self.model.norm_pre(tokens)

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        return self._block(layer)(tokens)

    def _block(self, layer: int) -> nn.Module:
        """The block, which calls its map onto queries, keys and values where a prompter acts there: the library's own
        forward may take its weights instead."""
        block = self.model.blocks[layer]
        if not self.is_used('qkv', layer) or getattr(block.attn, 'q_bias', None) is None:
            return block
        attn, block = copy(block.attn), copy(block)
        attn.qkv_bias_separate = True
        block._modules = dict(block._modules, attn=attn)
        return block

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        block = self.model.blocks[layer]
        attn = block.attn

        def project(x: Tensor) -> Tensor:
            x = attn.proj_drop(attn.proj(getattr(attn, 'norm', same)(x)))
            return block.drop_path1(_scaled(block, 1, x))

        def feed(x: Tensor) -> Tensor:
            return x + block.drop_path2(_scaled(block, 2, block.mlp(block.norm2(x))))

        return Spelling(block.norm1, self._attention(layer, context, length), project, feed)

    def _attention(self, layer: int, context: Context | None, length: int) -> SelfAttention:
        attn = self.model.blocks[layer].attn
        dropout = attn.attn_drop.p if attn.training else 0.0
        norms = getattr(attn, 'q_norm', same), getattr(attn, 'k_norm', same)
        return SelfAttention(*_projection(attn), attn.num_heads, dropout, norms)

    def key_value_weights(self, layer: int) -> tuple[Tensor, Tensor]:
        if 'memory' not in self.geometry.doors:  # a block of another kind
            return super().key_value_weights(layer)
        _, key, value = _projection(self.model.blocks[layer].attn)[0].chunk(3)
        return key, value

    def first_rows(
        self, tokens: Tensor, layer: int, context: Context, memory: Memory | None, rows: int
    ) -> Tensor | None:
        block = self.model.blocks[layer]
        # Scores have to be products of what linear maps make of tokens, without norms of queries and keys.
        simple = type(block) is Block and isinstance(block.attn.k_norm, nn.Identity)
        if not simple or not self.is_spelt(layer) or not is_unseen(block, self.model.norm):
            return None
        ready = None if memory is None else self.keys_values(memory, layer)
        how = self.spelling(layer)
        x = attend_first(how.norm(tokens), rows, *_projection(block.attn), block.attn.num_heads, ready)
        return how.feed(tokens[:, :rows] + how.project(x))

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return self.model.fc_norm(feature)

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        return self.logits(tokens)


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
