"""Prepended pixel prompts: the "prepend-pixel" location of Jia et al., "Visual Prompt Tuning", ECCV 2022, figure 5
https://arxiv.org/abs/2203.12119

Learnt are P patches of pixels. The frozen patch embedding makes tokens of them, without positions, and from there on
they are shallow prompts: 6.9 points behind those on VTAB's natural group.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from vptx.geometry import Geometry
from vptx.prompters.base import TokenPrompter
from vptx.prompters.embedding import uniform_bound
from vptx.prompters.pixels import draw_pixels
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class PrependedPixelPrompter(TokenPrompter):
    """P learnt patches of pixels beside the image: P * 3 * (patch height) * (patch width) numbers.

    Args:
        num_tokens: P.
        init: ``'uniform'``, U(-v, v) with the bound of :func:`~vptx.prompters.embedding.uniform_bound`; ``'gaussian'``,
            N(0, 1); ``'normalised'``, U(0, 1) pixels normalised with the network's own mean and standard deviation.
    """

    def __init__(self, num_tokens: int = 50, init: str = 'uniform') -> None:
        super().__init__(num_tokens, layers=[0])
        if init not in ('uniform', 'gaussian', 'normalised'):
            raise ValueError(f"init must be 'uniform', 'gaussian' or 'normalised', not '{init}'")
        self.init = init

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        # Pixels become tokens, so they stay tokens: never door 3.
        super().bind(replace(geometry, doors=geometry.doors - {'memory'}), reads_prompts)
        height, width = geometry.patch
        strip = torch.empty(geometry.channels, height, self.num_tokens * width)
        if self.init == 'uniform':
            bound = uniform_bound(geometry, geometry.widths[0])
            strip.uniform_(-bound, bound)
        else:
            draw_pixels(strip, self.init, geometry)
        self.strip = nn.Parameter(strip)

    def pixels(self) -> Tensor:
        return self.strip

    def enter(self, tokens: Tensor, layer: int) -> Tensor:
        return tokens  # the hall has put them in already
