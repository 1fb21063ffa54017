"""Adapters: Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", ICML 2019,
https://arxiv.org/abs/1902.00751; with one for each layer instead of two: Pfeiffer et al., "AdapterFusion", EACL 2021,
https://arxiv.org/abs/2005.00247, the "Adapter" of Jia et al. 2022.

What a branch of the network gives goes through a bottleneck before it is added to the residual stream:

    y <- y + W_up GELU(W_down y + b_down) + b_up

It begins as the network itself, with W_up = 0. W_down is drawn, so that a gradient reaches W_up from the first step and
W_down from the second. The public code of Jia et al. begins with zeros in both, which is a saddle: nothing but b_up
ever leaves it. Their numbers are those of 9,216 free biases, and are not to be expected here.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import At, Geometry, Site
from vptx.prompters.base import InsidePrompter
from vptx.registry import PROMPTERS

__all__ = ['Adapter', 'Bottleneck']


class Bottleneck(nn.Module):
    """Two linear maps with a GELU between them: (..., D) -> (..., D). It gives zeros initially.

    Args:
        width: D.
        hidden: how many units are between the maps.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.trunc_normal_(self.down.weight, std=0.01, a=-0.02, b=0.02)  # Houlsby et al., section 3.6
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(F.gelu(self.down(x)))


@PROMPTERS.register_module()
class Adapter(InsidePrompter):
    """A bottleneck after branches of every layer: 2 * D * h + h + D numbers each, h = D // ``reduction``.

    Source: Houlsby et al., ICML 2019, https://arxiv.org/abs/1902.00751; Pfeiffer et al., EACL 2021,
    https://arxiv.org/abs/2005.00247.

    Args:
        reduction: by how much the bottleneck is narrower than the layer; Jia et al. choose it from 8, 64 and 256.
        after: after which branches: ``('mlp',)`` is Pfeiffer's, ``('attn', 'mlp')`` Houlsby's.
        layers: in which layers, counted from 0, negative from the end; None for all.

    Raises:
        ValueError: a branch of another name; when bound, a bottleneck narrower than one unit.
    """

    def __init__(
        self, reduction: int = 8, after: tuple[str, ...] = ('mlp',), layers: Sequence[int] | None = None
    ) -> None:
        super().__init__(layers)
        if not after or not set(after) <= {'attn', 'mlp'}:
            raise ValueError(f"after must name 'attn', 'mlp' or both, not {after!r}")
        self.reduction = reduction
        self.after = tuple(after)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.sites = self.pick_sites(geometry, self.after)
        narrowest = min(site.outputs for site in self.sites)
        if not isinstance(self.reduction, int) or not 1 <= self.reduction <= narrowest:
            raise ValueError(f'reduction must be a whole number from 1 to {narrowest}, not {self.reduction!r}')
        self.bottlenecks = nn.ModuleDict(
            {
                f'{site.name}_{site.layer}': Bottleneck(site.outputs, site.outputs // self.reduction)
                for site in self.sites
            }
        )

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        return output + self.bottlenecks[f'{site.name}_{site.layer}'](output)
