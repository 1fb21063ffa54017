"""The Swin transformers of mmpretrain and of mmsegmentation, as their configs and checkpoints have them.

``mmpretrain/models/backbones/swin_transformer.py``, ``mmseg/models/backbones/swin.py``: one code base, and one net.
Nothing is imported from either library: a model that is here has brought it. Unplugged or prompted, such a backbone
gives its own tuple: the maps of the stages ``out_indices``, each through its own norm.
"""

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from vptx.backbones import windows
from vptx.backbones.base import Context, KeyValue, LayerOutput, count_channels, is_a, measure_stem
from vptx.backbones.swin import SwinNet
from vptx.geometry import Geometry
from vptx.readout import OWN
from vptx.registry import NETS

_PATHS = (
    'mmpretrain.models.backbones.swin_transformer.SwinTransformer',
    'mmseg.models.backbones.swin.SwinTransformer',
)


@NETS.register_module()
class OpenMMLabSwin(SwinNet):
    """mmpretrain's or mmsegmentation's SwinTransformer.

    Args:
        model: a backbone, built.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(type='mmpretrain.SwinTransformer', arch='tiny', img_size=224))
    readout = OWN
    stem = 'patch_embed.projection'

    def __init__(self, model: nn.Module) -> None:
        if not self.knows(model):
            raise ValueError(f'OpenMMLabSwin takes {" and ".join(_PATHS)} apart, not {type(model).__name__}')
        if getattr(model, 'out_after_downsample', False):
            raise ValueError('OpenMMLabSwin takes maps as they leave a stage, not with out_after_downsample=True')
        super().__init__()
        self.model = model
        self._count_layers(model.stages)
        self._outputs = {layer: stage for stage, layer in enumerate(self.stages) if stage in model.out_indices}
        self.taps = tuple(self._outputs)
        embed = model.patch_embed
        # mmsegmentation does not keep the size it was built for, and takes any.
        facts = self._facts(tuple(embed.init_input_size or (224, 224)), tuple(embed.projection.kernel_size))
        self.geometry = Geometry(
            name=f'{type(model).__module__.partition(".")[0]}.{type(model).__name__}, '
            f'{len(facts["widths"])} x {facts["widths"][-1]}',
            mean=(),  # the data preprocessor of the model around it knows
            std=(),
            doors=frozenset({'image', 'tokens', 'memory', 'logits'}),
            stem=measure_stem(model, self.stem),
            channels=count_channels(model, self.stem),
            **facts,
        )

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return any(is_a(model, path) for path in _PATHS)

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model = self.model
        tokens, grid = model.patch_embed(image)
        if model.use_abs_pos_embed:
            positions = model.absolute_pos_embed
            if hasattr(model, 'interpolate_mode'):  # mmpretrain's go with the size of the image
                resize = sys.modules[type(model).__module__].resize_pos_embed
                positions = resize(positions, model.patch_resolution, grid, model.interpolate_mode, 0)
            tokens = tokens + positions
        return model.drop_after_pos(tokens), Context(grid)

    def embed_pixels(self, strip: Tensor) -> Tensor:
        embed = self.model.patch_embed
        tokens = embed.projection(strip[None]).flatten(2).transpose(1, 2)
        return (tokens if embed.norm is None else embed.norm(tokens))[0]

    def keys_values(self, memory: Tensor, layer: int) -> KeyValue:
        block = self._block(layer)
        return windows.keys_values(block.attn.w_msa, block.norm1(memory))

    def finish(self, tokens: Tensor) -> Tensor:
        """The norm of the last stage, if the backbone gives that."""
        norm = getattr(self.model, f'norm{len(self.stages) - 1}', None)
        return tokens if norm is None else norm(tokens)

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return feature

    def collect(self, outputs: Mapping[int, LayerOutput]) -> tuple:
        return tuple(
            outputs[layer]._replace(patches=getattr(self.model, f'norm{stage}')(outputs[layer].patches)).map
            for layer, stage in self._outputs.items()
        )

    def _stage(self, number: int) -> nn.Module:
        return self.model.stages[number]

    def _downsample(self, stage: int, patches: Tensor) -> Tensor:
        tokens, grid = self.model.stages[stage - 1].downsample(patches.flatten(1, 2), tuple(patches.shape[1:3]))
        return tokens.unflatten(1, grid)

    def _run(self, block: nn.Module, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return block(tokens, grid)

    def _run_with(self, block: nn.Module, tokens: Tensor, grid: tuple[int, int], memory: KeyValue | None) -> Tensor:
        attn = block.attn
        size, shift = attn.window_size, attn.shift_size
        if not getattr(attn, 'pad_small_map', True):  # mmpretrain's way with maps that are one window or less
            if min(grid) < size:
                raise ValueError(
                    f'a map of {grid[0]} x {grid[1]} patches is smaller than the window of {size}: build the backbone '
                    'with pad_small_map=True, or with a smaller window_size'
                )
            shift = 0 if min(grid) == size else shift
        cut = windows.Windows((size, size), (shift, shift), pad_first=True)
        tokens = tokens + attn.drop(windows.attend(attn.w_msa, block.norm1(tokens), grid, cut, memory))
        return block.ffn(block.norm2(tokens), identity=tokens)
