"""torchvision's SwinTransformer, of both versions: Liu et al., ICCV 2021, https://arxiv.org/abs/2103.14030, and
CVPR 2022, https://arxiv.org/abs/2111.09883.

https://github.com/pytorch/vision, ``torchvision/models/swin_transformer.py``. Its attention takes the weights of its
maps and calls neither. It fills a map up to whole windows before it rolls it, and takes images of any size.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import Swin_T_Weights, Swin_V2_T_Weights, SwinTransformer, get_model, swin_transformer

from vptx.backbones import windows
from vptx.backbones.base import Context, count_channels, measure_stem
from vptx.backbones.memory import Spelling, same
from vptx.backbones.swin import SwinNet
from vptx.geometry import Geometry
from vptx.registry import NETS

_BLOCKS = {
    swin_transformer.SwinTransformerBlock: swin_transformer.ShiftedWindowAttention,
    swin_transformer.SwinTransformerBlockV2: swin_transformer.ShiftedWindowAttentionV2,
}


@NETS.register_module()
class TorchvisionSwin(SwinNet):
    """torchvision's SwinTransformer, of both versions.

    Source: Liu et al., ICCV 2021, https://arxiv.org/abs/2103.14030, and CVPR 2022, https://arxiv.org/abs/2111.09883.

    Args:
        model: a torchvision name such as ``'swin_t'`` or ``'swin_v2_t'``, or a built model.
        img_size: height and width of the images to come, in pixels; by default the model's attribute ``image_size``,
            if it has one, or those of its published weights.
        **arguments: of ``torchvision.models.get_model`` for a name, such as ``weights='IMAGENET1K_V1'``.

    Raises:
        ValueError: a name that torchvision does not know, or a model of another family.
    """

    example: ClassVar[dict[str, Any]] = dict(model='swin_t')
    readout = 'mean'
    stem = 'features.0.0'
    around: Mapping[str, str] = dict(embed='features.0', norm='norm')
    # Its attention takes their weights.
    uncalled = frozenset({'qkv', 'proj'})
    replaced: Mapping[str, tuple[type[nn.Module], ...]] = {
        '': tuple(_BLOCKS),
        'norm1': (nn.LayerNorm,),
        'attn': tuple(_BLOCKS.values()),
        'attn.qkv': (nn.Linear,),
        'attn.proj': (nn.Linear,),
    }

    def __init__(self, model: str | nn.Module, img_size: int | tuple[int, int] | None = None, **arguments) -> None:
        super().__init__()
        name = model if isinstance(model, str) else ''
        network = get_model(model, **arguments) if isinstance(model, str) else model
        if not self.knows(network):
            raise ValueError(f'TorchvisionSwin wraps torchvision SwinTransformers, not {type(network).__name__}')
        self.model = network
        # The first is the embedding; then stages, and what merges patches between them.
        self._count_layers([len(stage) for stage in network.features[1::2]])
        blocks: Sequence[Any] = [block for stage in network.features[1::2] for block in stage]
        plain = all(self.is_known(block) for block in blocks)
        second = isinstance(blocks[0], swin_transformer.SwinTransformerBlockV2)
        pixels = (Swin_V2_T_Weights if second else Swin_T_Weights).IMAGENET1K_V1.transforms()
        size = img_size or getattr(network, 'image_size', None) or pixels.crop_size[0]
        facts = self._facts((size, size) if isinstance(size, int) else tuple(size), network.features[0][0].kernel_size)
        self.geometry = Geometry(
            name=name or f'torchvision.SwinTransformer, {len(blocks)} x {facts["widths"][-1]}',
            mean=tuple(pixels.mean),
            std=tuple(pixels.std),
            doors=frozenset({'image', 'logits'} | ({'tokens', 'memory', 'inside'} if plain else set())),
            sites=self.find_sites(facts['widths']) if plain else (),
            heads=tuple(block.attn.num_heads for block in blocks) if plain else (),
            stem=measure_stem(network, self.stem),
            channels=count_channels(network, self.stem),
            classes=getattr(network.head, 'out_features', 0),
            **facts,
        )

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, SwinTransformer) and not cls.overridden(model)

    @classmethod
    def overridden(cls, model: nn.Module) -> tuple[str, ...]:
        own = type(model).forward is not SwinTransformer.forward or 'forward' in vars(model)
        return ('forward',) if isinstance(model, SwinTransformer) and own else ()

    def is_known(self, module: nn.Module) -> bool:
        return type(module) in _BLOCKS and type(module.attn) is _BLOCKS[type(module)]

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        patches = self.model.features[0](image)
        return patches.flatten(1, 2), Context((patches.shape[1], patches.shape[2]))

    def patch_modules(self) -> tuple[Callable[[Tensor], Tensor], nn.Module | None]:
        patches, _, norm = self.model.features[0]
        return patches, norm

    def finish(self, tokens: Tensor) -> Tensor:
        return self.model.norm(tokens)

    @property
    def classifier(self) -> nn.Module | None:
        return self.model.head

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return feature

    def features(self, tokens: Tensor, context: Context) -> Tensor:
        return tokens.unflatten(1, context.grid)

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        maps = self.model.permute(self.features(tokens, context))
        return self.model.head(self.model.flatten(self.model.avgpool(maps)))

    def _blocks(self, stage: int) -> Any:
        return self.model.features[2 * stage + 1]

    def _downsample(self, stage: int, patches: Tensor) -> Tensor:
        return self.model.features[2 * stage](patches)

    def _run(self, block: nn.Module, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return block(tokens.unflatten(1, grid)).flatten(1, 2)

    def _attentions(self, block: nn.Module) -> tuple[nn.Module, ...]:
        return (block.attn,)

    def _spelling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        attn: Any = _Attention(block.attn)
        attention = windows.WindowAttention(attn, self._windows(block.attn, grid), grid)
        how = self._calling(block, grid)
        return how._replace(attention=attention, project=lambda x: how.project(attn.proj_drop(attn.proj(x))))

    def _calling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        def attention(x: Tensor, memory: None) -> Tensor:
            return windows.call(_Attention(block.attn), x, grid, self._windows(block.attn, grid))

        if isinstance(block, swin_transformer.SwinTransformerBlockV2):  # norms what a branch gives
            return Spelling(
                same,
                attention,
                lambda x: block.stochastic_depth(block.norm1(x)),
                lambda x: x + block.stochastic_depth(block.norm2(block.mlp(x))),
            )
        return Spelling(
            block.norm1,
            attention,
            block.stochastic_depth,
            lambda x: x + block.stochastic_depth(block.mlp(block.norm2(x))),
        )

    def _windows(self, attn: nn.Module, grid: tuple[int, int]) -> windows.Windows:
        # Along a side that one window covers there is no shift.
        sides = zip(attn.window_size, attn.shift_size, grid, strict=True)
        return windows.Windows(
            tuple(attn.window_size), tuple(0 if size >= side else shift for size, shift, side in sides), pad_first=True
        )


class _Attention(windows.Parts):
    """The parts of torchvision's attention, whose maps are weights, by the names of Swin's authors."""

    fused_attn = True
    softmax = nn.Softmax(dim=-1)

    def __init__(self, attn: nn.Module) -> None:
        super().__init__(attn)
        self.num_heads, self.training = attn.num_heads, attn.training
        self.scale = (attn.qkv.in_features // attn.num_heads) ** -0.5
        bias, cosine = attn.qkv.bias, hasattr(attn, 'logit_scale')
        if cosine:
            self.logit_scale, self.cpb_mlp, self.relative_coords_table = (
                attn.logit_scale,
                attn.cpb_mlp,
                attn.relative_coords_table,
            )
            if bias is not None:  # the keys have none, whatever stands there
                query, _, value = bias.chunk(3)
                bias = torch.cat([query, torch.zeros_like(query), value])
        else:
            self.relative_position_bias_table = attn.relative_position_bias_table
        side = attn.window_size[0] * attn.window_size[1]
        self.relative_position_index = attn.relative_position_index.unflatten(0, (side, side))
        self.qkv = _Map(attn.qkv.weight, bias)
        self.proj = _Map(attn.proj.weight, attn.proj.bias)
        self.attn_drop, self.proj_drop = (_Dropout(p, attn.training) for p in (attn.attention_dropout, attn.dropout))


class _Map(NamedTuple):
    """Weights of a linear map."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class _Dropout(NamedTuple):
    p: float
    training: bool

    def __call__(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)
