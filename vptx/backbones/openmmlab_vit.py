"""The vision transformers of mmpretrain and of mmsegmentation, as their configs and checkpoints have them.

``mmpretrain/models/backbones/vision_transformer.py``, ``mmseg/models/backbones/vit.py``. Nothing is imported from
either library: a model that is here has imported it. With or without a prompter, such a backbone gives its own tuple
(``out_type``, ``out_indices``), so that the neck and the head of its config go with it.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from vptx.backbones.base import Context, LayerOutput, Net, count_channels, has_own_forward, is_a, kind_of, measure_stem
from vptx.backbones.memory import SelfAttention, Spelling, same
from vptx.geometry import Geometry
from vptx.readout import OWN
from vptx.registry import NETS

__all__ = ['MMPretrainDeiT3', 'MMPretrainViT', 'MMSegViT', 'OpenMMLabViT']


class OpenMMLabViT(Net):
    """What both libraries' have in common: how they embed patches, call their parts and choose layers.

    Args:
        model: a backbone, built.
    """

    readout = OWN
    stem = 'patch_embed.projection'
    path: str
    takes_any_size = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not self.knows(model):
            raise ValueError(f'{type(self).__name__} wraps {self.path}, not {type(model).__name__}')
        self.model = model
        self.replaced = self._find_replaced()
        plain = all(self.is_known(block) for block in model.layers)
        depth, width = (
            len(model.layers),
            model.embed_dims if hasattr(model, 'embed_dims') else model.pos_embed.shape[-1],
        )
        patch = tuple(model.patch_embed.projection.kernel_size)
        grid = tuple(-(-side // size) for side, size in zip(model.img_size, patch, strict=True))
        self.around = {'norm': _name_of(model, model.norm1)} if model.final_norm else {}
        self.has_class_token = bool(getattr(model, 'with_cls_token', model.cls_token is not None))
        self.taps = tuple(sorted({layer % depth for layer in model.out_indices if layer < depth}))
        self.geometry = Geometry(
            name=f'{self.path.partition(".")[0]}.{type(model).__name__}, {depth} x {width}',
            widths=(width,) * depth,
            patch=patch,
            image=tuple(model.img_size),
            prefix=int(self.has_class_token),
            tokens=int(self.has_class_token) + grid[0] * grid[1],
            mean=(),  # the data preprocessor of the model around it knows
            std=(),
            doors=frozenset({'image', 'tokens', 'logits'} | ({'memory', 'inside'} if plain else set())),
            sites=self.find_sites((width,) * depth) if plain else (),
            heads=tuple(block.attn.num_heads for block in model.layers) if plain else (),
            any_size=self.takes_any_size,
            stem=measure_stem(model, self.stem),
            channels=count_channels(model, self.stem),
        )

    def _find_replaced(self) -> dict[str, tuple]:
        """Once the library is there: a net imports none."""
        raise NotImplementedError

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return is_a(model, cls.path) and not cls.overridden(model)

    @classmethod
    def overridden(cls, model: nn.Module) -> tuple[str, ...]:
        return ('forward',) if is_a(model, cls.path) and has_own_forward(model, cls.path) else ()

    def patch_modules(self) -> tuple[Callable[[Tensor], Tensor], nn.Module | None]:
        return self.model.patch_embed.projection, self.model.patch_embed.norm

    def module_of(self, layer: int) -> nn.Module:
        return self.model.layers[layer]

    def is_known(self, module: nn.Module) -> bool:
        return type(module) in self.replaced[''] and type(module.attn) in self.replaced['attn']

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        return self.module_of(layer)(tokens)

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        block = self.module_of(layer)
        attention, project = self._attention(block.attn)
        return Spelling(block.norm1, attention, project, lambda x: block.ffn(block.norm2(x), identity=x))

    def finish(self, tokens: Tensor) -> Tensor:
        return self.model.norm1(tokens) if self.model.final_norm else tokens

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return feature

    def collect(self, outputs: Mapping[int, LayerOutput]) -> tuple:
        last = self.geometry.depth - 1
        formatted = []
        for layer in self.taps:
            tokens = outputs[layer].tokens
            formatted.append(self._format(self.finish(tokens) if layer == last else tokens, outputs[layer].grid))
        return tuple(formatted)

    def _attention(self, attn: nn.Module) -> tuple[SelfAttention, Callable[[Tensor], Tensor]]:
        """The library's attention of normed tokens, and what is done to its output before the shortcut is added."""
        raise NotImplementedError

    def _format(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor | list[Tensor]:
        """(B, K+N, D) -> one entry of the backbone's own tuple."""
        raise NotImplementedError


@NETS.register_module()
class MMPretrainViT(OpenMMLabViT):
    """mmpretrain's VisionTransformer: class token or none, any ``out_type``.

    Args:
        model: a backbone, built.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(type='mmpretrain.VisionTransformer', arch='deit-t'))
    path = 'mmpretrain.models.backbones.vision_transformer.VisionTransformer'

    def _find_replaced(self) -> dict[str, tuple]:
        return {
            '': (kind_of('mmpretrain.models.backbones.vision_transformer.TransformerEncoderLayer'),),
            'norm1': (nn.LayerNorm,),
            'attn': (kind_of('mmpretrain.models.utils.attention.MultiheadAttention'),),
            'attn.qkv': (nn.Linear,),
        }

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model = self.model
        tokens, grid = model.patch_embed(image)
        if model.cls_token is not None:
            tokens = torch.cat([model.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        positions = model.resize_pos_embed(
            model.pos_embed,
            model.patch_resolution,
            grid,
            mode=model.interpolate_mode,
            num_extra_tokens=model.num_extra_tokens,
        )
        return model.pre_norm(model.drop_after_pos(tokens + positions)), Context(grid)

    def admit(self, tokens: Tensor) -> Tensor:
        return getattr(self.model, 'pre_norm', same)(tokens)  # which BEiT and DeiT III lack

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return self.model.ln2(feature) if self.model.out_type == 'avg_featmap' else feature

    def is_known(self, module: nn.Module) -> bool:
        return super().is_known(module) and not module.attn.v_shortcut

    def _attention(self, attn: nn.Module) -> tuple[SelfAttention, Callable[[Tensor], Tensor]]:
        dropout = attn.attn_drop if attn.training else 0.0
        return (
            SelfAttention(attn.qkv.weight, attn.qkv.bias, attn.num_heads, dropout),
            lambda x: attn.out_drop(attn.gamma1(attn.proj_drop(attn.proj(x)))),
        )

    def _format(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return self.model._format_output(tokens, grid)


@NETS.register_module()
class MMPretrainDeiT3(MMPretrainViT):
    """mmpretrain's DeiT3: a class token without a position.

    Source: Touvron et al., "DeiT III", ECCV 2022, https://arxiv.org/abs/2204.07118.

    Args:
        model: a backbone, built.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(type='mmpretrain.DeiT3', arch='s'))
    path = 'mmpretrain.models.backbones.deit3.DeiT3'
    uncalled = frozenset({'norm1', 'norm2'})  # it calls the first in the place of the second too

    def _find_replaced(self) -> dict[str, tuple]:
        layer = kind_of('mmpretrain.models.backbones.deit3.DeiT3TransformerEncoderLayer')
        return {**super()._find_replaced(), '': (layer,), 'ln1': (nn.LayerNorm,)}

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model = self.model
        tokens, grid = model.patch_embed(image)
        tokens = tokens + model.resize_pos_embed(
            model.pos_embed, model.patch_resolution, grid, mode=model.interpolate_mode, num_extra_tokens=0
        )
        tokens = model.drop_after_pos(tokens)
        if model.cls_token is not None:
            tokens = torch.cat([model.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        return tokens, Context(grid)

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        block = self.module_of(layer)
        attention, project = self._attention(block.attn)
        return Spelling(block.ln1, attention, project, lambda x: block.ffn(block.ln1(x), identity=x))


@NETS.register_module()
class MMSegViT(OpenMMLabViT):
    """mmsegmentation's VisionTransformer, of SETR, Segmenter and UPerNet: feature maps, with the class token or not.

    Args:
        model: a backbone, built.

    Raises:
        ValueError: a backbone with ``out_origin=True``.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(type='mmseg.VisionTransformer', num_layers=2))
    path = 'mmseg.models.backbones.vit.VisionTransformer'
    uncalled = frozenset({'attn'})  # it adds the shortcut

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        if model.out_origin:
            raise ValueError('MMSegViT gives outputs of layers; with out_origin=True the embedding is asked for too')

    def _find_replaced(self) -> dict[str, tuple]:
        return {
            '': (kind_of('mmseg.models.backbones.vit.TransformerEncoderLayer'),),
            'norm1': (nn.LayerNorm,),
            'attn': (kind_of('mmcv.cnn.bricks.transformer.MultiheadAttention'),),
            'attn.attn': (nn.MultiheadAttention,),
            'attn.attn.out_proj': (NonDynamicallyQuantizableLinear,),
        }

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model = self.model
        tokens, grid = model.patch_embed(image)
        tokens = torch.cat([model.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        tokens = model._pos_embeding(tokens, grid, model.pos_embed)
        if not model.with_cls_token:
            tokens = tokens[:, 1:]
        return self.admit(tokens), Context(grid)

    def admit(self, tokens: Tensor) -> Tensor:
        return self.model.pre_ln(tokens) if self.model.pre_norm else tokens

    def is_known(self, module: nn.Module) -> bool:
        if not super().is_known(module):
            return False
        attn = module.attn.attn
        return attn.in_proj_weight is not None and attn.bias_k is None and not attn.add_zero_attn

    def _attention(self, attn: nn.Module) -> tuple[SelfAttention, Callable[[Tensor], Tensor]]:
        inner = attn.attn
        return (
            SelfAttention(
                inner.in_proj_weight, inner.in_proj_bias, attn.num_heads, inner.dropout if inner.training else 0.0
            ),
            lambda x: attn.dropout_layer(attn.proj_drop(F.linear(x, inner.out_proj.weight, inner.out_proj.bias))),
        )

    def _format(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor | list[Tensor]:
        prefix = self.geometry.prefix
        patches = tokens[:, prefix:].unflatten(1, grid).permute(0, 3, 1, 2).contiguous()
        return [patches, tokens[:, 0]] if self.model.output_cls_token else patches


def _name_of(model: nn.Module, part: nn.Module) -> str:
    return next(name for name, module in model.named_modules() if module is part)
