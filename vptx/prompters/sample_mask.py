"""Learnt pixels under a mask that each image makes for itself: Cai et al., "Sample-specific Masks for Visual
Reprogramming-based Prompting" (SMM), ICML 2024, https://arxiv.org/abs/2406.03150

    x' = x + P * m(x)

m is a small convolutional network, its three channels at an eighth of the resolution, each value for a square of 8 px.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import Geometry
from vptx.prompters.base import check_whole
from vptx.prompters.image import NORMS, ImagePrompter
from vptx.prompters.pixels import check_choice
from vptx.registry import PROMPTERS

POOLED = 3  # layers whose maps are halved: 2 ** 3 = 8 px


@PROMPTERS.register_module()
class SampleMaskPrompter(ImagePrompter):
    """One image added to every image, under a mask of its own: 3 * H * W numbers, and 26,499 of the mask's network, or
    102,339 with six layers.

    Source: Cai et al. (SMM), ICML 2024, https://arxiv.org/abs/2406.03150.

    Args:
        layers: of the mask's network: 5, published for ResNets, or 6, for ViTs.
        norm: in that network. ``'batch'``, as published, mixes the images of a training batch; ``'group'`` does not.
        **others: ``space``, ``bound`` and ``init`` of ``ImagePrompter``.

    Raises:
        ValueError: fewer than 4 layers, or an unknown norm.
    """

    def __init__(self, layers: int = 5, norm: str = 'group', **others) -> None:
        super().__init__(**others)
        self.layers = check_whole('layers', layers, POOLED + 1)
        self.norm = check_choice('norm', norm, tuple(NORMS))

    def allocate(self, geometry: Geometry) -> None:
        self.delta = self.draw(geometry, geometry.channels, *self.size)
        widths = [geometry.channels, *(8 * 2**layer for layer in range(self.layers - 1))]
        parts: list[nn.Module] = []
        for layer, (before, after) in enumerate(pairwise(widths)):
            parts += [nn.Conv2d(before, after, 3, padding=1), NORMS[self.norm](after), nn.ReLU()]
            parts += [nn.MaxPool2d(2)] * (layer < POOLED)
        self.network = nn.Sequential(*parts, nn.Conv2d(widths[-1], geometry.channels, 3, padding=1))

    def pattern(self, canvas: Tensor) -> Tensor:
        return self.squash(self.delta) * F.interpolate(self.network(canvas), self.size)  # the nearest value
