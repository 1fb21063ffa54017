"""What all Swin transformers have in common, whichever library they are from."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from vptx.backbones import windows
from vptx.backbones.base import Context, Net
from vptx.backbones.memory import Spelling
from vptx.backbones.spelling import ReplacedForwardError, stand_in

__all__ = ['SwinNet']


class SwinNet(Net):
    """A Swin transformer; its layers are its blocks, counted through all stages.

    Prompts as in Jia et al., "Visual Prompt Tuning", ECCV 2022 (https://arxiv.org/abs/2203.12119): they join every
    window (``vptx.backbones.windows``), and go through patch merging as four copies of themselves. The public code
    of that paper mixes shallow prompts of different images of a batch; here every image keeps its own.
    """

    has_class_token = False
    map_norm = 'each'

    def _count_layers(self, depths: Sequence[int]) -> None:
        """Number the blocks of all stages, of which each has so many."""
        self._places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]

    @property
    def stages(self) -> tuple[int, ...]:
        """The last layer of each stage."""
        return tuple(
            layer
            for layer, (stage, _) in enumerate(self._places)
            if layer + 1 == len(self._places) or self._places[layer + 1][0] > stage
        )

    def _facts(self, image: tuple[int, int], patch: tuple[int, int]) -> dict:
        """The part of the geometry that depends on patches and stages alone."""
        grids = [(-(-image[0] // patch[0]), -(-image[1] // patch[1]))]
        for _ in self.stages[1:]:
            grids.append(windows.halved(grids[-1]))
        lengths = tuple(grids[stage][0] * grids[stage][1] for stage, _ in self._places)
        widths = tuple(self._first_norm(self.module_of(layer)).weight.numel() for layer in range(len(lengths)))
        return dict(
            patch=patch, image=image, prefix=0, tokens=lengths[0], lengths=lengths, widths=widths, windowed=True
        )

    def _first_norm(self, block: nn.Module) -> nn.Module:
        return block.norm1

    def merge(self, tokens: Tensor, layer: int, context: Context) -> tuple[Tensor, Context]:
        stage, block = self._places[layer]
        if block > 0 or stage == 0:
            return tokens, context
        tokens, grid = windows.merge(tokens, context.grid, lambda patches: self._downsample(stage, patches))
        return tokens, Context(grid)

    def module_of(self, layer: int) -> nn.Module:
        stage, block = self._places[layer]
        return self._blocks(stage)[block]

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        block, grid = self.module_of(layer), context.grid
        if tokens.shape[1] == grid[0] * grid[1]:
            return self._run(block, tokens, grid)
        if self.is_spelt(layer):
            return self.spell(tokens, layer, context, None)
        if not self.is_known(block) or any('forward' in vars(part) for part in (block, *self._attentions(block))):
            raise ReplacedForwardError(self.geometry.name, layer)
        return stand_in(block, lambda x: self._calling(block, grid)(x, None))(tokens)

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        return self._spelling(self.module_of(layer), context.grid if context else (0, 0))

    def _blocks(self, stage: int) -> Any:
        """Of a stage, in their order."""
        raise NotImplementedError

    def _downsample(self, stage: int, patches: Tensor) -> Tensor:
        """The library's merging before ``stage``: (B, H, W, C) -> (B, H', W', C')"""
        raise NotImplementedError

    def _run(self, block: nn.Module, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """The library's own block on (B, N, C)."""
        raise NotImplementedError

    def _attentions(self, block: nn.Module) -> tuple[nn.Module, ...]:
        """The modules whose forward is that of attention in windows."""
        raise NotImplementedError

    def _spelling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        """How a block is computed on (B, P+N, C), its attention from weights."""
        raise NotImplementedError

    def _calling(self, block: nn.Module, grid: tuple[int, int]) -> Spelling:
        """The same, its attention by calling the modules that it has."""
        raise NotImplementedError
