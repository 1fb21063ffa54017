"""timm's SwinTransformer and SwinTransformerV2, of any size, depth and window.

https://github.com/huggingface/pytorch-image-models, ``timm/models/swin_transformer.py`` and ``swin_transformer_v2.py``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from timm.models import swin_transformer, swin_transformer_v2
from torch import Tensor, nn

from vptx.backbones import windows
from vptx.backbones.base import Context
from vptx.backbones.memory import Spelling, same
from vptx.backbones.swin import SwinNet
from vptx.backbones.timm_net import TimmTransformer
from vptx.backbones.timm_vit import NORMS
from vptx.geometry import Geometry
from vptx.registry import NETS

_BLOCKS = {
    swin_transformer.SwinTransformerBlock: swin_transformer.WindowAttention,
    swin_transformer_v2.SwinTransformerV2Block: swin_transformer_v2.WindowAttention,
}


@NETS.register_module()
class TimmSwin(SwinNet, TimmTransformer):
    """timm's Swin transformers: Swin and Swin V2, any size and window.

    Args:
        model: a timm name such as ``'swin_base_patch4_window7_224.ms_in22k'``, or a built model.
        **others: of ``TimmNet``, and of ``timm.create_model`` for a name: ``img_size``,
            ``window_size``, ``num_classes`` (0 without), ...
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (
        swin_transformer.SwinTransformer,
        swin_transformer_v2.SwinTransformerV2,
    )
    built_with: ClassVar[dict[str, Any]] = dict(num_classes=0, dynamic_img_size=True)
    example: ClassVar[dict[str, Any]] = dict(model='swin_tiny_patch4_window7_224', depths=(1, 1, 1, 1))
    replaced: Mapping[str, tuple[type[nn.Module], ...]] = {
        '': tuple(_BLOCKS),
        'norm1': NORMS,
        'attn': tuple(_BLOCKS.values()),
        'attn.qkv': (nn.Linear,),
        'attn.softmax': (nn.Softmax,),
        'attn.attn_drop': (nn.Dropout,),
    }

    def __init__(self, model: str | nn.Module, **others) -> None:
        super().__init__(model, **others)
        model, embed = self.model, self.model.patch_embed
        self._count_layers([len(stage.blocks) for stage in model.layers])
        # Prompts in windows need the attention computed from weights; with blocks of another kind only the image's door
        # is open.
        blocks = [block for stage in model.layers for block in stage.blocks]
        plain = all(self.is_known(block) for block in blocks)
        facts = self._facts(tuple(embed.img_size), tuple(embed.feat_ratio(as_scalar=False)))
        if self._norms_last:  # the attention of V2 takes the weights of this map
            self.uncalled = frozenset({'qkv'})
        sites = self.find_sites(facts['widths']) if plain else ()
        self.geometry = Geometry(
            doors=frozenset(
                {'image', 'logits'} | ({'tokens', 'memory'} if plain else set()) | ({'inside'} if sites else set())
            ),
            sites=sites,
            heads=tuple(block.attn.num_heads for block in blocks) if plain else (),
            head_widths=tuple(block.attn.qkv.out_features // (3 * block.attn.num_heads) for block in blocks)
            if plain
            else (),
            any_size=model.dynamic_img_size,
            **self.facts,
            **facts,
        )
        self.readout = 'mean' if model.global_pool == 'avg' and plain else 'logits'

    def is_known(self, module: nn.Module) -> bool:
        return type(module) in _BLOCKS and type(module.attn) is _BLOCKS[type(module)]

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        patches, grid = self._embed_patches(image)
        return patches.flatten(1, 2), Context(grid)

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return feature

    @property
    def intermediates(self) -> tuple[int, ...]:
        return self.stages

    def features(self, tokens: Tensor, context: Context) -> Tensor:
        return tokens.unflatten(1, context.grid)

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        return self.model.head(self.features(tokens, context))

    @property
    def _norms_last(self) -> bool:
        """V2 norms what a branch gives instead of what it takes."""
        return isinstance(self.model, swin_transformer_v2.SwinTransformerV2)

    def _blocks(self, stage: int) -> Any:
        return self.model.layers[stage].blocks

    def _downsample(self, stage: int, patches: Tensor) -> Tensor:
        return self.model.layers[stage].downsample(patches)

    def _run(self, block: nn.Module, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return block(tokens.unflatten(1, grid)).flatten(1, 2)

    def _attentions(self, block: nn.Module) -> tuple[nn.Module, ...]:
        return (block.attn,)

    def _spelling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        attn = block.attn
        attention = windows.WindowAttention(attn, self._windows(block), grid)
        how = self._calling(block, grid)
        return how._replace(attention=attention, project=lambda x: how.project(attn.proj_drop(attn.proj(x))))

    def _calling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        def attention(x: Tensor, memory: None) -> Tensor:
            return windows.call(block.attn, x, grid, self._windows(block))

        if self._norms_last:
            return Spelling(
                same,
                attention,
                lambda x: block.drop_path1(block.norm1(x)),
                lambda x: x + block.drop_path2(block.norm2(block.mlp(x))),
            )
        return Spelling(
            block.norm1, attention, block.drop_path1, lambda x: x + block.drop_path2(block.mlp(block.norm2(x)))
        )

    def _windows(self, block: nn.Module) -> windows.Windows:
        return windows.Windows(block.window_size, block.shift_size, pad_first=False)
