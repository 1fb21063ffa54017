"""Convolutional bypasses: Jie and Deng, "Convolutional Bypasses Are Better Vision Transformer Adapters", 2022,
https://arxiv.org/abs/2207.07039

A bottleneck with a convolution next to attention and next to the MLP, on the same normalised tokens (figure 3):

    y = Attn(n) + s W_up act(Conv3x3(act(W_down n))),    act(x) = x sigmoid(1.702 x)

The convolution sees patches as a map, and the class token through the centre of its kernel. It begins as the network
itself, with W_up = 0; the convolution begins as the identity.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vptx.geometry import At, Geometry, Site
from vptx.prompters.base import InsidePrompter, check_grid, check_whole
from vptx.prompters.grid import over_grid
from vptx.registry import PROMPTERS

# The map that gets all that attention gets; queries are of the class token alone in some layers of CaiT.
_ENTRANCES = ('qkv', 'k')


@PROMPTERS.register_module()
class Convpass(InsidePrompter):
    """A convolutional bottleneck next to attention and MLP of every layer: 2 * D * h + 9 * h^2 + 2 * h + D each.

    It gives a ViT the neighbourhoods that it lacks, which helps with few training images. 327,552 of a ViT-B/16.

    Source: Jie and Deng, 2022, https://arxiv.org/abs/2207.07039, figure 3.

    Args:
        hidden: h.
        scale: s, which the public code chooses for each task from 0.01 to 100, on its test images.
        next_to: any of ``'attn'`` and ``'mlp'``. Where attention sees windows of the map, ``('mlp',)`` alone.
        layers: in which layers, counted from 0, negative from the end; None for all.

    Raises:
        ValueError: options out of range; when bound, a network without a grid of patches, or with windows.
    """

    def __init__(
        self,
        hidden: int = 8,
        scale: float = 1.0,
        next_to: Sequence[str] = ('attn', 'mlp'),
        layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__(layers)
        if isinstance(next_to, str) or not next_to or not set(next_to) <= {'attn', 'mlp'}:
            raise ValueError(f"next_to must name 'attn', 'mlp' or both, not {next_to!r}")
        self.hidden = check_whole('hidden', hidden)
        self.scale = scale
        self.next_to = tuple(next_to)

    shares_prefix = False

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        check_grid(type(self).__name__, geometry)
        if 'attn' in self.next_to and geometry.windowed:
            raise ValueError(
                f'Convpass convolves what goes into attention as one map, and {geometry.name} cuts it into windows: '
                "next_to=('mlp',), or Mona"
            )
        for name in self.next_to:  # a layer has to have each
            self.pick_sites(geometry, [name])
        entrances = self.pick_sites(geometry, _ENTRANCES) if 'attn' in self.next_to else ()
        self.sites = (*entrances, *self.pick_sites(geometry, self.next_to))
        self.branches = nn.ModuleDict(
            {f'{site.name}_{site.layer}': self._branch(site) for site in self.sites if site.name in self.next_to}
        )

    def _branch(self, site: Site) -> nn.ModuleDict:
        down, up = nn.Linear(site.inputs, self.hidden), nn.Linear(self.hidden, site.outputs)
        conv = nn.Conv2d(self.hidden, self.hidden, 3, padding=1)
        nn.init.xavier_uniform_(down.weight)
        nn.init.dirac_(conv.weight)
        for zero in (down.bias, conv.bias, up.weight, up.bias):
            assert zero is not None
            nn.init.zeros_(zero)
        return nn.ModuleDict(dict(down=down, conv=conv, up=up))

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        assert at.kept is not None
        if site.name in _ENTRANCES:
            at.kept['convpass'] = self._bypass(f'attn_{site.layer}', input, at.grid)
            return output
        if site.name == 'mlp':
            bypass = self._bypass(f'mlp_{site.layer}', input, at.grid)
        else:  # of whose rows attention may give the first ones alone
            bypass = at.kept.pop('convpass')[:, : output.shape[1]]
        return output + self.scale * bypass

    def _bypass(self, name: str, x: Tensor, grid: tuple[int, int]) -> Tensor:
        branch: Any = self.branches[name]

        def convolve(maps: Tensor) -> Tensor:
            return branch['conv'](maps)

        hidden = _quick_gelu(branch['down'](x))
        if x.dim() == 4:  # (B, H', W', D), as some networks have their tokens
            hidden = convolve(hidden.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        else:
            hidden = over_grid(convolve, hidden, grid)
        return branch['up'](_quick_gelu(hidden))


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)
