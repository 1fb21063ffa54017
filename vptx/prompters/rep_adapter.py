"""RepAdapter: Luo et al., "Towards Efficient Visual Adaption via Structural Re-parameterization", 2023,
https://arxiv.org/abs/2302.08106

What a norm gives, on its way to attention or to the MLP, goes through a linear bottleneck with a shortcut (equation 6),
whose second map is block-diagonal in g groups of channels:

    y <- y + s (B dropout(A y + a) + b),    A (h, D), B (D, h) of g blocks

All of it is linear, and so is the map W that reads it, W y + c. So it goes into that map when it is trained:

    W <- W (I + s B A),    c <- c + s W (B a + b)

It begins as the network itself, with B = 0 and b = 0.
"""

from collections.abc import MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vptx.geometry import Affine, At, Geometry, Site
from vptx.prompters.base import InsidePrompter, Prompter, check_whole
from vptx.registry import PROMPTERS

# The maps that read what a norm gives.
_READERS = {'norm1': ('qkv', 'q', 'k', 'v'), 'norm2': ('fc1',)}


@PROMPTERS.register_module()
class RepAdapter(InsidePrompter):
    """A linear bottleneck after both norms of every layer: D * h + h + D * h / g + D numbers each.

    ``vptx.merge`` makes inference cost what the frozen network costs. 239,808 numbers of a ViT-B/16.

    Source: Luo et al., 2023, https://arxiv.org/abs/2302.08106, equation 6.

    Args:
        hidden: h.
        groups: g, which divides h and the width of the layers.
        scale: s, which the public code chooses for each task, on its test images.
        dropout: of the bottleneck's units, while training; 0.1 in the public code.
        layers: in which layers, counted from 0, negative from the end; None for all.

    Raises:
        ValueError: options out of range; when bound, groups that do not divide the width, or a network without norms.
    """

    def __init__(
        self,
        hidden: int = 8,
        groups: int = 2,
        scale: float = 1.0,
        dropout: float = 0.0,
        layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__(layers)
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), not {dropout}')
        self.hidden, self.groups = check_whole('hidden', hidden), check_whole('groups', groups)
        if hidden % groups:
            raise ValueError(f'groups={groups} must divide hidden={hidden}')
        self.scale = scale
        self.dropout = nn.Dropout(dropout)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.sites = self.pick_sites(geometry, _READERS)
        odd = sorted({site.outputs for site in self.sites if site.outputs % self.groups})
        if odd:
            raise ValueError(f'groups={self.groups} do not divide the width {odd[0]} of {geometry.name}')
        downs = [nn.Linear(site.outputs, self.hidden) for site in self.sites]
        for down in downs:
            nn.init.xavier_uniform_(down.weight)
            nn.init.zeros_(down.bias)
        self.downs = nn.ModuleList(downs)
        blocks = [(self.groups, site.outputs // self.groups, self.hidden // self.groups) for site in self.sites]
        self.ups = nn.ParameterList(torch.zeros(shape) for shape in blocks)
        self.biases = nn.ParameterList(torch.zeros(site.outputs) for site in self.sites)
        self._readers = {
            site: [s for s in geometry.sites if s.layer == site.layer and s.name in _READERS[site.name]]
            for site in self.sites
        }

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        index = self.sites.index(site)
        hidden = self.dropout(self.downs[index](output)).unflatten(-1, (self.groups, -1))
        up = torch.einsum('...gh,gdh->...gd', hidden, self.ups[index].to(hidden.dtype)).flatten(-2)
        return output + self.scale * (up + self.biases[index])

    def merge(self, weights: MutableMapping[Site, Affine]) -> Prompter | None:
        for index, site in enumerate(self.sites):
            down: Any = self.downs[index]
            up = torch.block_diag(*self.ups[index])
            readers = self._readers[site]
            if not readers:
                raise ValueError(
                    f'RepAdapter cannot be merged: of what {site.name} of layer {site.layer} gives, no reader is known'
                )
            for reader in readers:
                weight, bias = weights[reader]
                shift = self.scale * weight @ (up @ down.bias + self.biases[index])
                changed = weight + self.scale * weight @ up @ down.weight
                weights[reader] = Affine(changed, shift if bias is None else bias + shift)
        return None
