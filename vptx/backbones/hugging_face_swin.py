"""Swin of Hugging Face's transformers: Liu et al., ICCV 2021, https://arxiv.org/abs/2103.14030

https://github.com/huggingface/transformers, ``src/transformers/models/swin/modeling_swin.py``. It fills a map up to
whole windows before it rolls it.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vptx.backbones import windows
from vptx.backbones.base import Context, kind_of
from vptx.backbones.hugging_face import IMAGENET, Family, HuggingFaceNet
from vptx.backbones.memory import Spelling, same
from vptx.backbones.spelling import stand_in
from vptx.backbones.swin import SwinNet
from vptx.geometry import Geometry, Site
from vptx.registry import NETS

__all__ = ['HuggingFaceSwin']


@NETS.register_module()
class HuggingFaceSwin(SwinNet, HuggingFaceNet):
    """Swin transformers of Hugging Face's transformers: SwinModel and SwinForImageClassification.

    Source: Liu et al., ICCV 2021, https://arxiv.org/abs/2103.14030.

    Args:
        model: as of ``HuggingFaceNet``.
        **others: as of ``HuggingFaceNet``.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(model_type='swin', depths=(1, 1, 1, 1)))
    families: ClassVar[Sequence[Family]] = (
        Family(
            'swin',
            'SwinModel',
            'SwinLayer',
            'SwinAttention',
            ('SwinForImageClassification',),
            IMAGENET,
            'encoder.layers.0.blocks',
            'embeddings.patch_embeddings.projection',
            ('layernorm_before', 'attention', 'o_proj', 'layernorm_after'),
        ),
    )

    def __init__(self, model: str | dict | nn.Module, **others) -> None:
        super().__init__(model, **others)
        bias = self.family.kind('SwinRelativePositionBias')
        self.replaced = {**self.family.replaced(), 'attention.relative_position_bias': (bias,)}
        self._count_layers([len(stage.blocks) for stage in self.encoder.encoder.layers])
        blocks = [block for stage in self.encoder.encoder.layers for block in stage.blocks]
        plain = all(self.is_known(block) for block in blocks)
        common = self._common(self.config.image_size, self.config.patch_size, len(blocks), self.encoder.num_features)
        facts = {**common, **self._facts(common['image'], common['patch'])}
        sites = list[Site]()
        for layer, block in enumerate(blocks):
            sites += self.family.sites(block, layer, facts['widths'][layer])
        attentions = [block.attention for block in blocks]
        self.geometry = Geometry(
            doors=frozenset({'image', 'logits', 'inside'} | ({'tokens', 'memory'} if plain else set())),
            sites=(*sites, Site('norm', None, facts['widths'][-1], facts['widths'][-1])),
            heads=tuple(attn.num_attention_heads for attn in attentions) if plain else (),
            **facts,
        )
        self.readout = 'mean' if plain and self.encoder.pooler is not None else 'logits'

    def is_known(self, module: nn.Module) -> bool:
        attn = module.attention
        known = type(module) in self.replaced[''] and type(attn) in self.replaced['attention']
        return known and attn.scaling == attn.head_dim**-0.5

    @property
    def fixed_size(self) -> bool:
        return self.encoder.embeddings.position_embeddings is not None

    @property
    def recorded(self) -> tuple[int, ...]:
        return (0, *(layer + 1 for layer in self.stages))

    def record(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        return tokens if layer in (0, self.geometry.depth) else self.merge(tokens, layer, context)[0]

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        image = self._check_image(image)
        resizes = self.fixed_size and tuple(image.shape[-2:]) != self.geometry.image
        tokens, (rows, columns) = self._embeddings()(image, interpolate_pos_encoding=resizes)
        return tokens, Context((rows, columns))

    def patch_modules(self) -> tuple[Callable[[Tensor], Tensor], nn.Module | None]:
        return self.model.get_submodule(self.stem), self.encoder.embeddings.norm

    def module_at(self, site: Site) -> nn.Module:
        if site.layer is None:
            return self.encoder.layernorm
        block = self.module_of(site.layer)
        return block.get_submodule(self.family.places(block)[site.name])

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return feature

    def pool(self, tokens: Tensor) -> Tensor | None:
        pooler = self.encoder.pooler
        return None if pooler is None else pooler(tokens.transpose(1, 2)).flatten(1)

    def output(self, tokens: Tensor, image: Tensor | None, states: tuple[Tensor, ...] | None) -> Any:
        maps = None
        if states is not None:
            assert image is not None
            grid, maps = self._padded_grid(image), []
            for number, state in enumerate(states):
                # The first is before the first stage, and the last one merges nothing.
                grid = windows.halved(grid) if 0 < number < len(states) - 1 else grid
                maps.append(None if state is None else state.transpose(1, 2).unflatten(2, grid).contiguous())
        kind: Any = kind_of(self.family.path('SwinModelOutput'))
        return kind(
            last_hidden_state=tokens,
            pooler_output=self.pool(tokens),
            hidden_states=states,
            reshaped_hidden_states=None if maps is None else tuple(maps),
        )

    def _padded_grid(self, image: Tensor) -> tuple[int, int]:
        rows, columns = (-(-side // step) for side, step in zip(image.shape[-2:], self.geometry.patch, strict=True))
        return rows, columns

    def _first_norm(self, block: nn.Module) -> nn.Module:
        return block.layernorm_before

    def _blocks(self, stage: int) -> Any:
        return self.encoder.encoder.layers[stage].blocks

    def _downsample(self, stage: int, patches: Tensor) -> Tensor:
        grid = patches.shape[1], patches.shape[2]
        return (
            self.encoder.encoder.layers[stage - 1]
            .downsample(patches.flatten(1, 2), grid)
            .unflatten(1, windows.halved(grid))
        )

    def _run(self, block: nn.Module, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return block(tokens, grid)[0]

    def _attentions(self, block: nn.Module) -> tuple[nn.Module, ...]:
        return (block.attention,)

    def _spelling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        attention = windows.WindowAttention(_Attention(block.attention), self._windows(block, grid), grid)
        how = self._calling(block, grid)
        return how._replace(attention=attention, project=lambda x: how.project(block.attention.o_proj(x)))

    def _calling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        def attention(x: Tensor, memory: None) -> Tensor:
            return windows.call(_Attention(block.attention), x, grid, self._windows(block, grid))

        return Spelling(
            block.layernorm_before,
            attention,
            lambda x: block.drop_path(block.dropout(x)),
            lambda x: x + block.dropout(block.mlp(block.layernorm_after(x))),
        )

    def _windows(self, block: nn.Module, grid: tuple[int, int]) -> windows.Windows:
        # Where a map is one window, the library neither shifts nor, from then on, changes its mind.
        shift = 0 if min(grid, default=0) <= block.window_size else block.shift_size
        return windows.Windows((block.window_size,) * 2, (shift, shift), pad_first=True)


class _Attention(windows.Parts):
    """The parts of transformers' attention by the names that Swin's authors gave them, for ``windows``."""

    fused_attn = True
    proj_drop = staticmethod(same)

    def __init__(self, attn: nn.Module) -> None:
        super().__init__(attn)
        self.qkv = _Maps(attn)
        self.num_heads, self.scale, self.training = attn.num_attention_heads, attn.scaling, attn.training
        self.attn_drop = SimpleNamespace(p=attn.attention_dropout)
        self.proj = attn.o_proj
        side = attn.relative_position_bias.window_area
        self.relative_position_bias_table = attn.relative_position_bias.relative_position_bias_table
        self.relative_position_index = attn.relative_position_bias.relative_position_index.unflatten(0, (side, side))

    def stand_in(self, forward: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: stand_in(self.attn, lambda x: (forward(x), None))(x)[0]


class _Maps:
    """Three maps as one."""

    def __init__(self, attn: nn.Module) -> None:
        self.maps: Any = (attn.q_proj, attn.k_proj, attn.v_proj)

    @property
    def weight(self) -> Tensor:
        return torch.cat([part.weight for part in self.maps])

    @property
    def bias(self) -> Tensor | None:
        biases = [part.bias for part in self.maps]
        return None if biases[0] is None else torch.cat(biases)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.maps], dim=-1)
