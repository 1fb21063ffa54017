"""Prepended pixel prompts: the "prepend-pixel" location of Jia et al., "Visual Prompt Tuning", ECCV 2022, figure 5
https://arxiv.org/abs/2203.12119

Learnt are P patches of pixels. The frozen patch embedding makes tokens of them, without positions, and from there on
they are shallow prompts: 6.9 points behind those on VTAB's natural group.

The public code has three forms. Uniform and Gaussian patches are what the network sees, ``space='normalised'``. The
third are pixels in [0, 1] that are normalised in each forward: ``space='unit', init='normalised'``.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from vptx.geometry import At, Geometry
from vptx.prompters.base import TokenPrompter
from vptx.prompters.embedding import uniform_bound
from vptx.prompters.pixels import SPACES, check_choice, draw_pixels, in_network
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class PrependedPixelPrompter(TokenPrompter):
    """P learnt patches of pixels next to the image: P * 3 * (patch height) * (patch width) numbers.

    Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119, figure 5 ("prepend-pixel").

    Args:
        num_tokens: P.
        init: ``'uniform'``, U(-v, v) with the bound of ``uniform_bound``; ``'gaussian'``,
            N(0, 1); ``'normalised'``, U(0, 1) pixels. The first two are numbers of ``space``, the last is converted to
            it.
        space: what the learnt numbers are: ``'normalised'``, as the network sees pixels; ``'unit'``, pixels in [0, 1];
            ``'symmetric'``, in [-1, 1]. A learning rate means another thing in each: ``pixels.convert_lr``.

    Raises:
        ValueError: no whole number of tokens, an unknown ``init`` or ``space``; when bound, a space other than
            ``'normalised'`` where the normalisation of the network's pixels is unknown.
    """

    scale: Tensor
    zero: Tensor

    def __init__(self, num_tokens: int = 50, init: str = 'uniform', space: str = 'normalised') -> None:
        super().__init__(num_tokens, layers=[0])
        self.init = check_choice('init', init, ('uniform', 'gaussian', 'normalised'))
        self.space = check_choice('space', space, SPACES)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        # Pixels become tokens, so they stay tokens: never door 3.
        super().bind(replace(geometry, doors=geometry.doors - {'memory'}), reads_prompts)
        scale, zero = in_network(self.space, geometry)
        self.register_buffer('scale', scale, persistent=False)
        self.register_buffer('zero', zero, persistent=False)
        height, width = geometry.patch
        strip = torch.empty(geometry.channels, height, self.num_tokens * width)
        if self.init == 'uniform':
            bound = uniform_bound(geometry, geometry.widths[0])
            strip.uniform_(-bound, bound)
        else:
            draw_pixels(strip, self.init, geometry, self.space)
        self.strip = nn.Parameter(strip)

    def pixels(self) -> Tensor:
        """(3, patch height, P * patch width), as the network sees pixels."""
        return self.zero + self.scale * self.strip

    def before_layer(self, tokens: Tensor, at: At) -> Tensor:
        return tokens  # the prompted network has put them in already
