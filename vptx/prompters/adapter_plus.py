"""Adapter+: Steitz and Roth, "Adapters Strike Back", CVPR 2024, https://arxiv.org/abs/2406.06820

What every layer gives goes through a bottleneck with a learnt scale s of each channel, next to a shortcut:

    x <- x + s * (W_up GELU(W_down x + b_down) + b_up),    s = 1 initially

W_down and W_up are drawn of N(0, 0.01^2), cut at two standard deviations. So it does not begin as the network itself,
but close to it; with s = 0 it is that.
"""

from collections.abc import MutableMapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from vptx.geometry import Affine, At, Geometry, Site
from vptx.prompters.adapter import Bottleneck
from vptx.prompters.base import Prompter, check_listed, check_whole, pick_layers
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class AdapterPlus(Prompter):
    """A scaled bottleneck after every layer: 2 * D * ``rank`` + ``rank`` + 2 * D numbers each, 165,984 of a ViT-B/16.

    The baseline to compare with: its authors have one recipe for all tasks and evaluate once, after the last epoch.
    ``vptx.merge`` takes the scale into W_up and b_up.

    Source: Steitz and Roth, "Adapters Strike Back", CVPR 2024, https://arxiv.org/abs/2406.06820.

    Args:
        rank: width of the bottleneck, 1 to 32 in the paper.
        drop_path: how likely it is left out of a sample while training; 0.1 in the public code.
        layers: after which layers, counted from 0, negative from the end; None for all.

    Raises:
        ValueError: options out of range; when bound, a layer that the network does not have.
    """

    doors = frozenset({'tokens'})
    needs_all_tokens = False

    def __init__(self, rank: int = 8, drop_path: float = 0.0, layers: Sequence[int] | None = None) -> None:
        super().__init__()
        if not 0 <= drop_path < 1:
            raise ValueError(f'drop_path must be in [0, 1), not {drop_path}')
        from torchvision.ops import StochasticDepth  # not on `import vptx`: it takes half a second

        self.rank = check_whole('rank', rank)
        self._asked = check_listed(layers)
        self.drop_path = StochasticDepth(drop_path, 'row')

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.layers = pick_layers(self._asked, geometry)
        widths = [geometry.widths[layer] for layer in self.layers]
        bottlenecks = [Bottleneck(width, self.rank) for width in widths]
        for bottleneck in bottlenecks:
            nn.init.trunc_normal_(bottleneck.up.weight, std=0.01, a=-0.02, b=0.02)
        self.bottlenecks = nn.ModuleList(bottlenecks)
        self.scales = nn.ParameterList(torch.ones(width) for width in widths)

    def after_layer(self, tokens: Tensor, at: At) -> Tensor:
        if at.layer not in self.layers:
            return tokens
        index = self.layers.index(at.layer)
        return tokens + self.drop_path(self.scales[index] * self.bottlenecks[index](tokens))

    @torch.no_grad()
    def merge(self, weights: MutableMapping[Site, Affine]) -> Prompter:
        """The same with all scales 1."""
        left = deepcopy(self)
        for scale, bottleneck in zip(left.scales, left.bottlenecks, strict=True):
            bottleneck.up.weight *= scale[:, None]
            bottleneck.up.bias *= scale
            scale.fill_(1)
        return left
