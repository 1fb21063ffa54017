"""The vision transformers of mmpretrain and of mmsegmentation, as their configs and checkpoints have them.

``mmpretrain/models/backbones/vision_transformer.py``, ``mmseg/models/backbones/vit.py``. Nothing is imported from
either library: a model that is here has brought it. Unplugged or prompted, such a backbone gives its own tuple
(``out_type``, ``out_indices``), so that the neck and the head of its config go with it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vptx.backbones.base import Context, KeyValue, LayerOutput, Net, count_channels, is_a, measure_stem
from vptx.backbones.memory import attend, project
from vptx.geometry import Geometry
from vptx.readout import OWN
from vptx.registry import NETS

__all__ = ['MMPretrainViT', 'MMSegViT']


class _OpenMMLabViT(Net):
    """What both libraries' have in common: how they embed patches, call their parts and choose layers.

    Args:
        model: a backbone, built.
    """

    readout = OWN
    stem = 'patch_embed.projection'
    path: str

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not self.knows(model):
            raise ValueError(f'{type(self).__name__} takes {self.path} apart, not {type(model).__name__}')
        self.model = model
        depth, width = len(model.layers), model.pos_embed.shape[-1]
        patch = tuple(model.patch_embed.projection.kernel_size)
        grid = tuple(-(-side // size) for side, size in zip(model.img_size, patch, strict=True))
        self.has_class_token = bool(model.with_cls_token)
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
            doors=frozenset({'image', 'tokens', 'memory', 'logits'}),
            stem=measure_stem(model, self.stem),
            channels=count_channels(model, self.stem),
        )

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return is_a(model, cls.path)

    def embed_pixels(self, strip: Tensor) -> Tensor:
        embed = self.model.patch_embed
        tokens = embed.projection(strip[None]).flatten(2).transpose(1, 2)
        return (tokens if embed.norm is None else embed.norm(tokens))[0]

    def block(self, tokens: Tensor, layer: int, context: Context, memory: Tensor | KeyValue | None = None) -> Tensor:
        block = self.model.layers[layer]
        if memory is None:
            return block(tokens)
        if isinstance(memory, Tensor):
            memory = self.keys_values(memory, layer)
        tokens = tokens + self._attention(block.attn, block.norm1(tokens), memory)
        return block.ffn(block.norm2(tokens), identity=tokens)

    def keys_values(self, memory: Tensor, layer: int) -> KeyValue:
        block = self.model.layers[layer]
        return KeyValue(*project(block.norm1(memory), *self._weights(block.attn), block.attn.num_heads, first=1))

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

    def _attention(self, attn: nn.Module, x: Tensor, memory: KeyValue) -> Tensor:
        """The library's attention of (B, M, D) to itself and to ``memory``, up to where the shortcut is added."""
        raise NotImplementedError

    def _weights(self, attn: nn.Module) -> tuple[Tensor, Tensor | None]:
        """Of the projections onto queries, keys and values, one above the other."""
        raise NotImplementedError

    def _format(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor | list[Tensor]:
        """(B, K+N, D) -> one entry of the backbone's own tuple."""
        raise NotImplementedError


@NETS.register_module()
class MMPretrainViT(_OpenMMLabViT):
    """mmpretrain's VisionTransformer: class token or none, any ``out_type``."""

    example: ClassVar[dict[str, Any]] = dict(model=dict(type='mmpretrain.VisionTransformer', arch='deit-t'))
    path = 'mmpretrain.models.backbones.vision_transformer.VisionTransformer'

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model = self.model
        tokens, grid = model.patch_embed(image)
        if model.cls_token is not None:
            tokens = torch.cat([model.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        positions = model.resize_pos_embed(
            model.pos_embed,
            model.patch_resolution,
            grid,
            mode=model.interpolate_mode,
            num_extra_tokens=model.num_extra_tokens,
        )
        return model.pre_norm(model.drop_after_pos(tokens + positions)), Context(grid)

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return self.model.ln2(feature) if self.model.out_type == 'avg_featmap' else feature

    def _attention(self, attn: nn.Module, x: Tensor, memory: KeyValue) -> Tensor:
        query, key, value = project(x, *self._weights(attn), attn.num_heads)
        x = attn.proj(attend(query, key, value, memory, attn.attn_drop if attn.training else 0.0))
        return attn.out_drop(attn.gamma1(attn.proj_drop(x)))

    def _weights(self, attn: nn.Module) -> tuple[Tensor, Tensor | None]:
        return attn.qkv.weight, attn.qkv.bias

    def _format(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return self.model._format_output(tokens, grid)


@NETS.register_module()
class MMSegViT(_OpenMMLabViT):
    """mmsegmentation's VisionTransformer, of SETR, Segmenter and UPerNet: feature maps, with the class token or not."""

    example: ClassVar[dict[str, Any]] = dict(model=dict(type='mmseg.VisionTransformer', num_layers=2))
    path = 'mmseg.models.backbones.vit.VisionTransformer'

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        if model.out_origin:
            raise ValueError('MMSegViT gives outputs of layers; with out_origin=True the embedding is asked for too')

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model = self.model
        tokens, grid = model.patch_embed(image)
        tokens = torch.cat([model.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        tokens = model._pos_embeding(tokens, grid, model.pos_embed)
        if not model.with_cls_token:
            tokens = tokens[:, 1:]
        return model.pre_ln(tokens) if model.pre_norm else tokens, Context(grid)

    def _attention(self, attn: nn.Module, x: Tensor, memory: KeyValue) -> Tensor:
        query, key, value = project(x, *self._weights(attn), attn.num_heads)
        x = attend(query, key, value, memory, attn.attn.dropout if attn.training else 0.0)
        return attn.dropout_layer(attn.proj_drop(attn.attn.out_proj(x)))

    def _weights(self, attn: nn.Module) -> tuple[Tensor, Tensor | None]:
        return attn.attn.in_proj_weight, attn.attn.in_proj_bias

    def _format(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor | list[Tensor]:
        prefix = self.geometry.prefix
        patches = tokens[:, prefix:].unflatten(1, grid).permute(0, 3, 1, 2).contiguous()
        return [patches, tokens[:, 0]] if self.model.output_cls_token else patches
