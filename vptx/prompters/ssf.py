"""SSF: Lian et al., "Scaling & Shifting Your Features: A New Baseline for Efficient Model Tuning", NeurIPS 2022,
https://arxiv.org/abs/2210.08823

What the patch embedding, every norm and every linear map of the network gives is scaled and shifted, channel by
channel (equation 2):

    y <- gamma * y + beta,    gamma ~ N(1, 0.02^2), beta ~ N(0, 0.02^2)
"""

from collections.abc import MutableMapping

import torch
from torch import Tensor, nn

from vptx.geometry import Affine, At, Geometry, Site
from vptx.prompters.base import InsidePrompter, Prompter
from vptx.registry import PROMPTERS

_SCALED = ('embed', 'norm1', 'qkv', 'q', 'k', 'v', 'proj', 'norm2', 'fc1', 'fc2', 'norm')


@PROMPTERS.register_module()
class SSF(InsidePrompter):
    """A scale and a shift for every channel: 2 * outputs numbers at each site, 22 * D in each layer of a ViT.

    Source: Lian et al., NeurIPS 2022, https://arxiv.org/abs/2210.08823, equation 2.

    Args:
        layers: in which layers, counted from 0, negative from the end; None for all, and for what stands before and
            after them.
    """

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.sites = self.pick_sites(geometry, _SCALED, around=True)
        self.scales = nn.ParameterList(torch.empty(site.outputs).normal_(1, 0.02) for site in self.sites)
        self.shifts = nn.ParameterList(torch.empty(site.outputs).normal_(0, 0.02) for site in self.sites)

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        index = self.sites.index(site)
        return self.scales[index] * output + self.shifts[index]

    def merge(self, weights: MutableMapping[Site, Affine]) -> Prompter | None:
        for site, scale, shift in zip(self.sites, self.scales, self.shifts, strict=True):
            weight, bias = weights[site]
            scaled = scale.view(-1, *[1] * (weight.dim() - 1)) * weight
            weights[site] = Affine(scaled, shift if bias is None else scale * bias + shift)
        return None
