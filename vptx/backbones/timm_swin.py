"""timm's SwinTransformer and SwinTransformerV2, of any size, depth and window.

https://github.com/huggingface/pytorch-image-models, ``timm/models/swin_transformer.py`` and ``swin_transformer_v2.py``.

Prompts as in Jia et al., "Visual Prompt Tuning", ECCV 2022 (https://arxiv.org/abs/2203.12119, appendix): they join
every window (:mod:`vptx.backbones.windows`), and go through patch merging as four copies of themselves. The public code
of that paper mixes shallow prompts of different images of a batch; here every image keeps its own.
"""

from collections.abc import Sequence

from timm.models import swin_transformer, swin_transformer_v2
from torch import Tensor, nn

from vptx.backbones import windows
from vptx.backbones.base import Context, KeyValue, Net
from vptx.backbones.timm_vit import create
from vptx.geometry import Geometry
from vptx.registry import NETS
from vptx.weights import load_weights

_NETWORKS = (swin_transformer.SwinTransformer, swin_transformer_v2.SwinTransformerV2)
_BLOCKS = {
    swin_transformer.SwinTransformerBlock: swin_transformer.WindowAttention,
    swin_transformer_v2.SwinTransformerV2Block: swin_transformer_v2.WindowAttention,
}


@NETS.register_module()
class TimmSwin(Net):
    """A Swin transformer of timm, taken apart. Its layers are its blocks, counted through all stages.

    Args:
        model: a timm name such as ``'swin_base_patch4_window7_224.ms_in22k'``, or a built model.
        weights: ``'timm://NAME'`` or a file; its format is told by its content, see
            :func:`~vptx.weights.load_weights`. None leaves them as they are: random, for a name.
        fresh: patterns of parts that do not take their weights, e.g. ``['norm']``.
        **arguments: of ``timm.create_model`` for a name: ``img_size``, ``window_size``, ``num_classes`` (0 without), ...
    """

    has_class_token = False
    map_norm = 'each'

    def __init__(
        self, model: str | nn.Module, weights: str | None = None, fresh: Sequence[str] = (), **arguments
    ) -> None:
        super().__init__()
        name = model if isinstance(model, str) else None
        if isinstance(model, str):
            model = create(model, arguments)
        if not isinstance(model, _NETWORKS):
            raise ValueError(
                f'TimmSwin takes timm SwinTransformers and SwinTransformerV2s apart, not {type(model).__name__}'
            )
        self.model = model
        if weights:
            load_weights(model, weights, fresh=fresh)
        config, embed = model.pretrained_cfg, model.patch_embed
        blocks = [block for stage in model.layers for block in stage.blocks]
        # Prompts in windows need the attention spelt out; a block of another kind leaves the image's door alone.
        plain = all(type(block.attn) is _BLOCKS.get(type(block)) for block in blocks)
        self._places = [(s, b) for s, stage in enumerate(model.layers) for b in range(len(stage.blocks))]
        grids = [embed.grid_size]
        for _ in model.layers[1:]:
            grids.append(_halved(grids[-1]))
        lengths = tuple(grids[stage][0] * grids[stage][1] for stage, _ in self._places)
        self.geometry = Geometry(
            name=name or '.'.join(filter(None, (config.get('architecture'), config.get('tag')))),
            widths=tuple(block.norm1.weight.numel() for block in blocks),
            patch=tuple(embed.patch_size),
            image=tuple(embed.img_size),
            prefix=0,
            tokens=lengths[0],
            mean=tuple(config['mean']),
            std=tuple(config['std']),
            doors=frozenset({'image', 'logits'} | ({'tokens', 'memory'} if plain else set())),
            lengths=lengths,
        )
        self.readout = {'avg': 'mean'}.get(model.global_pool, 'logits') if plain else 'logits'

    @property
    def stages(self) -> tuple[int, ...]:
        """The last layer of each stage."""
        ends = [layer for layer, (_, block) in enumerate(self._places) if block == 0][1:]
        return (*(layer - 1 for layer in ends), self.geometry.depth - 1)

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, _NETWORKS)

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        embed, patch, size = self.model.patch_embed, self.geometry.patch, tuple(image.shape[-2:])
        if size[0] % patch[0] or size[1] % patch[1]:
            raise ValueError(
                f'patches of {patch[0]} x {patch[1]} px do not divide an image of {size[0]} x {size[1]} px'
            )
        if size != self.geometry.image and not self.model.dynamic_img_size:
            raise ValueError(
                f'an image of {size[0]} x {size[1]} px, but {self.geometry.name} was built for '
                f'{self.geometry.image[0]} x {self.geometry.image[1]} px: build it with img_size=... or with '
                'dynamic_img_size=True'
            )
        tokens = embed(image)
        return tokens.flatten(1, 2), Context(tuple(tokens.shape[1:3]))

    def embed_pixels(self, strip: Tensor) -> Tensor:
        embed = self.model.patch_embed
        return embed.norm(embed.proj(strip[None]).flatten(2).transpose(1, 2))[0]

    def merge(self, tokens: Tensor, layer: int, context: Context) -> tuple[Tensor, Context]:
        stage, block = self._places[layer]
        if block > 0 or stage == 0:
            return tokens, context
        downsample = self.model.layers[stage].downsample
        return windows.merge(tokens, context.grid, downsample), Context(_halved(context.grid))

    def block(self, tokens: Tensor, layer: int, context: Context, memory: Tensor | KeyValue | None = None) -> Tensor:
        block = self._block(layer)
        if memory is None and tokens.shape[1] == context.grid[0] * context.grid[1]:
            return block(tokens.unflatten(1, context.grid)).flatten(1, 2)
        if isinstance(memory, Tensor):
            memory = self.keys_values(memory, layer)
        cut = windows.Windows(block.window_size, block.shift_size, pad_first=False)
        if self._norms_last:
            attended = windows.attend(block.attn, tokens, context.grid, cut, memory)
            tokens = tokens + block.drop_path1(block.norm1(attended))
            return tokens + block.drop_path2(block.norm2(block.mlp(tokens)))
        attended = windows.attend(block.attn, block.norm1(tokens), context.grid, cut, memory)
        tokens = tokens + block.drop_path1(attended)
        return tokens + block.drop_path2(block.mlp(block.norm2(tokens)))

    def keys_values(self, memory: Tensor, layer: int) -> KeyValue:
        block = self._block(layer)
        return windows.keys_values(block.attn, memory if self._norms_last else block.norm1(memory))

    def finish(self, tokens: Tensor) -> Tensor:
        return self.model.norm(tokens)

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return feature

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        return self.model.head(tokens.unflatten(1, context.grid))

    def _block(self, layer: int) -> nn.Module:
        stage, block = self._places[layer]
        return self.model.layers[stage].blocks[block]

    @property
    def _norms_last(self) -> bool:
        """V2 norms what a branch gives instead of what it takes."""
        return isinstance(self.model, swin_transformer_v2.SwinTransformerV2)


def _halved(grid: tuple[int, int]) -> tuple[int, int]:
    return (grid[0] + 1) // 2, (grid[1] + 1) // 2
