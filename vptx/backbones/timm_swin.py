"""timm's SwinTransformer and SwinTransformerV2, of any size, depth and window.

https://github.com/huggingface/pytorch-image-models, ``timm/models/swin_transformer.py`` and ``swin_transformer_v2.py``.
"""

from collections.abc import Sequence

from timm.models import swin_transformer, swin_transformer_v2
from torch import Tensor, nn

from vptx.backbones import windows
from vptx.backbones.base import Context, KeyValue
from vptx.backbones.swin import SwinNet
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
class TimmSwin(SwinNet):
    """A Swin transformer of timm, taken apart.

    Args:
        model: a timm name such as ``'swin_base_patch4_window7_224.ms_in22k'``, or a built model.
        weights: ``'timm://NAME'`` or a file; its format is told by its content, see
            :func:`~vptx.weights.load_weights`. None leaves them as they are: random, for a name.
        fresh: patterns of parts that do not take their weights, e.g. ``['norm']``.
        **arguments: of ``timm.create_model`` for a name: ``img_size``, ``window_size``, ``num_classes``, ...
    """

    def __init__(
        self, model: str | nn.Module, weights: str | None = None, fresh: Sequence[str] = (), **arguments
    ) -> None:
        name = model if isinstance(model, str) else None
        if isinstance(model, str):
            model = create(model, arguments)
        if not isinstance(model, _NETWORKS):
            raise ValueError(
                f'TimmSwin takes timm SwinTransformers and SwinTransformerV2s apart, not {type(model).__name__}'
            )
        super().__init__(model, model.layers)
        if weights:
            load_weights(model, weights, fresh=fresh)
        config, embed = model.pretrained_cfg, model.patch_embed
        # Prompts in windows need the attention spelt out; with blocks of another kind only the image's door is open.
        blocks = [block for stage in model.layers for block in stage.blocks]
        plain = all(type(block.attn) is _BLOCKS.get(type(block)) for block in blocks)
        self.geometry = Geometry(
            name=name or '.'.join(filter(None, (config.get('architecture'), config.get('tag')))),
            mean=tuple(config['mean']),
            std=tuple(config['std']),
            doors=frozenset({'image', 'logits'} | ({'tokens', 'memory'} if plain else set())),
            **self._facts(tuple(embed.img_size), tuple(embed.patch_size)),
        )
        self.readout = 'mean' if model.global_pool == 'avg' and plain else 'logits'

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, _NETWORKS)

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        patch, size = self.geometry.patch, tuple(image.shape[-2:])
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
        tokens = self.model.patch_embed(image)
        return tokens.flatten(1, 2), Context((tokens.shape[1], tokens.shape[2]))

    def embed_pixels(self, strip: Tensor) -> Tensor:
        embed = self.model.patch_embed
        return embed.norm(embed.proj(strip[None]).flatten(2).transpose(1, 2))[0]

    def keys_values(self, memory: Tensor, layer: int) -> KeyValue:
        block = self._block(layer)
        return windows.keys_values(block.attn, memory if self._norms_last else block.norm1(memory))

    def finish(self, tokens: Tensor) -> Tensor:
        return self.model.norm(tokens)

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return feature

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        return self.model.head(tokens.unflatten(1, context.grid))

    @property
    def _norms_last(self) -> bool:
        """V2 norms what a branch gives instead of what it takes."""
        return isinstance(self.model, swin_transformer_v2.SwinTransformerV2)

    def _stage(self, number: int) -> nn.Module:
        return self.model.layers[number]

    def _downsample(self, stage: int, patches: Tensor) -> Tensor:
        return self.model.layers[stage].downsample(patches)

    def _run(self, block: nn.Module, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return block(tokens.unflatten(1, grid)).flatten(1, 2)

    def _run_with(self, block: nn.Module, tokens: Tensor, grid: tuple[int, int], memory: KeyValue | None) -> Tensor:
        cut = windows.Windows(block.window_size, block.shift_size, pad_first=False)
        if self._norms_last:
            attended = block.norm1(windows.attend(block.attn, tokens, grid, cut, memory))
            tokens = tokens + block.drop_path1(attended)
            return tokens + block.drop_path2(block.norm2(block.mlp(tokens)))
        attended = windows.attend(block.attn, block.norm1(tokens), grid, cut, memory)
        tokens = tokens + block.drop_path1(attended)
        return tokens + block.drop_path2(block.mlp(block.norm2(tokens)))
