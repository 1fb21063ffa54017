"""AdaptFormer: Chen et al., "AdaptFormer: Adapting Vision Transformers for Scalable Visual Recognition", NeurIPS 2022,
https://arxiv.org/abs/2205.13535

A bottleneck next to the MLP of every layer, on the same normalised tokens (equations 1 and 2):

    x_l = MLP(LN(x'_l)) + s * ReLU(LN(x'_l) W_down) W_up + x'_l

It begins as the network itself, with W_up = 0.
"""

from collections.abc import Sequence
from math import sqrt

from torch import Tensor, nn

from vptx.geometry import At, Geometry, Site
from vptx.prompters.base import InsidePrompter, check_whole
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class AdaptFormer(InsidePrompter):
    """A bottleneck next to the MLP of every layer: 2 * D * ``hidden`` + ``hidden`` + D numbers each.

    Source: Chen et al., NeurIPS 2022, https://arxiv.org/abs/2205.13535, equations 1 and 2.

    Args:
        hidden: width of the bottleneck.
        scale: s.
        dropout: of the bottleneck's units, while training.
        layers: in which layers, counted from 0, negative from the end; None for all.

    Raises:
        ValueError: options out of range.
    """

    def __init__(
        self, hidden: int = 64, scale: float = 0.1, dropout: float = 0.0, layers: Sequence[int] | None = None
    ) -> None:
        super().__init__(layers)
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), not {dropout}')
        self.hidden = check_whole('hidden', hidden)
        self.scale = scale
        self.dropout = dropout

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.sites = self.pick_sites(geometry, ['mlp'])
        self.branches = nn.ModuleList(self._branch(site) for site in self.sites)

    def _branch(self, site: Site) -> nn.Sequential:
        down, up = nn.Linear(site.inputs, self.hidden), nn.Linear(self.hidden, site.outputs)
        nn.init.kaiming_uniform_(down.weight, a=sqrt(5))
        for zero in (down.bias, up.weight, up.bias):
            nn.init.zeros_(zero)
        return nn.Sequential(down, nn.ReLU(), nn.Dropout(self.dropout), up)

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        return output + self.scale * self.branches[self.sites.index(site)](input)
