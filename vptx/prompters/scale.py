"""A learnt frame, and how large the image is in it: Tsao et al., "AutoVP: An Automated Visual Prompting Framework and
Benchmark", ICLR 2024, https://arxiv.org/abs/2310.08381

    x' = zoom(pad(x), z) + M(z) * sigmoid(W),    z in [0.1, 5], 1 to begin with

z is learnt through the zoom alone: the mask M, zero on a square of int(side * z) pixels, has no gradient.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import Geometry
from vptx.prompters.image import PlacedPrompter
from vptx.registry import PROMPTERS

SMALLEST, LARGEST = 0.1, 5.0


@PROMPTERS.register_module()
class ScalePrompter(PlacedPrompter):
    """Pixels behind and around a small image of learnt size: 3 * H * W + 1 numbers.

    Adam moves z by about its learning rate, whatever its gradient, which the public code clips at 0.001: give ``scale``
    a small ``lr_mult``.

    Args:
        side: pixels of a side of the image to begin with.
        space, bound, init: of :class:`~vptx.prompters.image.ImagePrompter`.
    """

    def __init__(self, side: int = 128, space: str = 'unit', bound: str = 'sigmoid', init: str = 'zero') -> None:
        super().__init__(side, space=space, bound=bound, init=init)

    def allocate(self, geometry: Geometry) -> None:
        self.delta = self.draw(geometry, geometry.channels, *self.size)
        self.zoom = nn.Parameter(torch.ones(()))

    def place(self, image: Tensor) -> Tensor:
        shrunk = super().place(image) - self.zero
        flat = torch.zeros_like(self.zoom)
        inverse = 1 / self.zoom.clamp(SMALLEST, LARGEST)
        # Of each pixel of the canvas, where in the image it comes from.
        theta = torch.stack([inverse, flat, flat, flat, inverse, flat]).view(1, 2, 3).expand(len(shrunk), -1, -1)
        grid = F.affine_grid(theta, list(shrunk.shape), align_corners=False)
        return F.grid_sample(shrunk, grid, align_corners=False) + self.zero

    def pattern(self, canvas: Tensor) -> Tensor:
        return self.squash(self.delta) * self.mask()

    def mask(self) -> Tensor:
        """(H, W), zero where the image is."""
        side = (self.side * self.zoom.detach().clamp(SMALLEST, LARGEST)).floor()
        rows, columns = (self._inside(side, length) for length in self.size)
        return (~(rows[:, None] & columns)).to(self.delta)

    def _inside(self, side: Tensor, length: int) -> Tensor:
        start = ((length - side + 1) / 2).floor()
        places = torch.arange(length, device=side.device)
        return (places >= start) & (places < start + side)
