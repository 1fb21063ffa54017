"""Learnt pixels of low rank: Jin et al., "LoR-VP: Low-Rank Visual Prompting for Efficient Vision Model Adaptation",
ICLR 2025, https://arxiv.org/abs/2502.00896

    x' = x + B A,    B (3, H, r) zero, A (3, r, W) of N(0, 0.01^2)

on all of the image, before it is normalised. Rows and columns share what they learn.
"""

import torch
from torch import Tensor, nn

from vptx.geometry import Geometry
from vptx.prompters.base import check_whole
from vptx.prompters.image import ImagePrompter
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class LowRankPrompter(ImagePrompter):
    """Pixels on all of the image, of rank r in each channel: 3 * r * (H + W) numbers. They begin at zero.

    Source: Jin et al. (LoR-VP), ICLR 2025, https://arxiv.org/abs/2502.00896.

    Args:
        rank: r.
        space, bound: of ``ImagePrompter``.

    Raises:
        ValueError: a rank that is no whole number of at least 1.
    """

    def __init__(self, rank: int = 4, space: str = 'unit', bound: str = 'none') -> None:
        super().__init__(space, bound)
        self.rank = check_whole('rank', rank)

    def allocate(self, geometry: Geometry) -> None:
        height, width = self.size
        self.left = nn.Parameter(torch.zeros(geometry.channels, height, self.rank))
        self.right = nn.Parameter(0.01 * torch.randn(geometry.channels, self.rank, width))

    def pattern(self, canvas: Tensor) -> Tensor:
        return self.squash(self.left @ self.right)
