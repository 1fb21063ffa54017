"""The Swin transformers of mmpretrain and of mmsegmentation, as their configs and checkpoints have them.

``mmpretrain/models/backbones/swin_transformer.py``, ``mmseg/models/backbones/swin.py``: one code base, and one net.
Nothing is imported from either library: a model that is here has imported it. With or without a prompter, such a
backbone gives its own tuple: the maps of the stages ``out_indices``, each through its own norm.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from vptx.backbones import windows
from vptx.backbones.base import Context, LayerOutput, count_channels, has_own_forward, is_a, kind_of, measure_stem
from vptx.backbones.memory import Spelling, same
from vptx.backbones.spelling import stand_in
from vptx.backbones.swin import SwinNet
from vptx.geometry import Geometry
from vptx.readout import OWN
from vptx.registry import NETS


def _find_replaced() -> dict[str, tuple]:
    """Once a library is there: a net imports none."""
    attention, here = 'mmpretrain.models.utils.attention', 'mmseg.models.backbones.swin'

    def both(name: str, module: str = attention) -> tuple:
        return kind_of(f'{module}.{name}'), kind_of(f'{here}.{name}')

    return {
        '': both('SwinBlock', 'mmpretrain.models.backbones.swin_transformer'),
        'norm1': (nn.LayerNorm,),
        'attn': both('ShiftWindowMSA'),
        'attn.w_msa': both('WindowMSA'),
        'attn.w_msa.qkv': (nn.Linear,),
        'attn.w_msa.softmax': (nn.Softmax,),
        'attn.w_msa.attn_drop': (nn.Dropout,),
    }


@NETS.register_module()
class OpenMMLabSwin(SwinNet):
    """mmpretrain's or mmsegmentation's SwinTransformer.

    Args:
        model: a backbone, built.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(type='mmpretrain.SwinTransformer', arch='tiny', img_size=224))
    readout = OWN
    stem = 'patch_embed.projection'
    paths: tuple[str, ...] = (
        'mmpretrain.models.backbones.swin_transformer.SwinTransformer',
        'mmseg.models.backbones.swin.SwinTransformer',
    )

    def _find_replaced(self) -> dict[str, tuple]:
        return _find_replaced()

    def __init__(self, model: nn.Module) -> None:
        if not self.knows(model):
            raise ValueError(f'{type(self).__name__} wraps {" and ".join(self.paths)}, not {type(model).__name__}')
        if getattr(model, 'out_after_downsample', False):
            raise ValueError('OpenMMLabSwin takes maps as they leave a stage, not with out_after_downsample=True')
        super().__init__()
        self.model = model
        self.replaced = self._find_replaced()
        self._count_layers([len(stage.blocks) for stage in model.stages])
        blocks = [block for stage in model.stages for block in stage.blocks]
        plain = all(self.is_known(block) for block in blocks)
        self._outputs = {layer: stage for stage, layer in enumerate(self.stages) if stage in model.out_indices}
        self.taps = tuple(self._outputs)
        embed = model.patch_embed
        # mmsegmentation does not keep the size it was built for, and takes any.
        facts = self._facts(tuple(embed.init_input_size or (224, 224)), tuple(embed.projection.kernel_size))
        last = f'norm{len(self.stages) - 1}'
        self.around = {'norm': last} if hasattr(model, last) else {}
        self.geometry = Geometry(
            name=f'{type(model).__module__.partition(".")[0]}.{type(model).__name__}, '
            f'{len(facts["widths"])} x {facts["widths"][-1]}',
            mean=(),  # the data preprocessor of the model around it knows
            std=(),
            doors=frozenset({'image', 'logits'} | ({'tokens', 'memory', 'inside'} if plain else set())),
            sites=self.find_sites(facts['widths']) if plain else (),
            heads=tuple(block.attn.w_msa.num_heads for block in blocks) if plain else (),
            stem=measure_stem(model, self.stem),
            channels=count_channels(model, self.stem),
            **facts,
        )

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return any(is_a(model, path) for path in cls.paths) and not cls.overridden(model)

    @classmethod
    def overridden(cls, model: nn.Module) -> tuple[str, ...]:
        return ('forward',) if any(is_a(model, path) and has_own_forward(model, path) for path in cls.paths) else ()

    def is_known(self, module: nn.Module) -> bool:
        if type(module) not in self.replaced[''] or type(module.attn) not in self.replaced['attn']:
            return False
        return type(module.attn.w_msa) in self.replaced['attn.w_msa']

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

    def patch_modules(self) -> tuple[Callable[[Tensor], Tensor], nn.Module | None]:
        return self.model.patch_embed.projection, self.model.patch_embed.norm

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

    def _blocks(self, stage: int) -> Any:
        return self.model.stages[stage].blocks

    def _downsample(self, stage: int, patches: Tensor) -> Tensor:
        tokens, grid = self.model.stages[stage - 1].downsample(patches.flatten(1, 2), tuple(patches.shape[1:3]))
        return tokens.unflatten(1, grid)

    def _run(self, block: nn.Module, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return block(tokens, grid)

    def _attentions(self, block: nn.Module) -> tuple[nn.Module, ...]:
        return block.attn, block.attn.w_msa

    def _spelling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        attn = block.attn
        inner = attn.w_msa

        def project(x: Tensor) -> Tensor:
            return attn.drop(inner.proj_drop(inner.proj(x)))

        attention = windows.WindowAttention(inner, self._windows(attn, grid), grid)
        return self._calling(block, grid)._replace(attention=attention, project=project)

    def _calling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        attn = block.attn

        def forward(x: Tensor) -> Tensor:
            return attn.drop(windows.call(attn.w_msa, x, grid, self._windows(attn, grid)))

        return Spelling(
            block.norm1,
            lambda x, memory: stand_in(attn, forward)(x),
            same,
            lambda x: block.ffn(block.norm2(x), identity=x),
        )

    def _windows(self, attn: nn.Module, grid: tuple[int, int]) -> windows.Windows:
        """
        Raises:
            ValueError: a map that is too small for the backbone.
        """
        size, shift = attn.window_size, attn.shift_size
        if any(grid) and not getattr(attn, 'pad_small_map', True):  # mmpretrain's way with maps of one window or less
            if min(grid) < size:
                raise ValueError(
                    f'a map of {grid[0]} x {grid[1]} patches is smaller than the window of {size}: build the backbone '
                    'with pad_small_map=True, or with a smaller window_size'
                )
            if min(grid) == size:
                return windows.Windows((size, size), (0, 0), pad_first=True)
        return windows.Windows((size, size), (shift, shift), pad_first=True)


@NETS.register_module()
class MMPretrainSwinV2(OpenMMLabSwin):
    """mmpretrain's SwinTransformerV2: norms after its branches, and unit queries and keys.

    Args:
        model: a backbone, built.
    """

    example: ClassVar[dict[str, Any]] = dict(
        model=dict(type='mmpretrain.SwinTransformerV2', arch='tiny', img_size=256, window_size=8)
    )
    paths = ('mmpretrain.models.backbones.swin_transformer_v2.SwinTransformerV2',)
    uncalled = frozenset({'qkv'})  # whose weights its attention takes

    def _find_replaced(self) -> dict[str, tuple]:
        attention = 'mmpretrain.models.utils.attention'
        return {
            **_find_replaced(),
            '': (kind_of('mmpretrain.models.backbones.swin_transformer_v2.SwinBlockV2'),),
            'attn.w_msa': (kind_of(f'{attention}.WindowMSAV2'),),
        }

    def _downsample(self, stage: int, patches: Tensor) -> Tensor:
        tokens, grid = self.model.stages[stage].downsample(patches.flatten(1, 2), tuple(patches.shape[1:3]))
        return tokens.unflatten(1, grid)

    def _calling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        def feed(x: Tensor) -> Tensor:
            x = x + block.norm2(block.ffn(x))
            return block.norm3(x) if block.extra_norm else x

        return super()._calling(block, grid)._replace(norm=same, project=block.norm1, feed=feed)

    def _spelling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        how, calling = super()._spelling(block, grid), self._calling(block, grid)
        return how._replace(project=lambda x: calling.project(how.project(x)))
