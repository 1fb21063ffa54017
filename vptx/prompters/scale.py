"""A learnt frame, and how large the image is in it: Tsao et al., "AutoVP: An Automated Visual Prompting Framework and
Benchmark", ICLR 2024, https://arxiv.org/abs/2310.08381

    x' = zoom(pad(x), z) + M(z) * sigmoid(W),    z in [0.1, 5], 1 initially

z is learnt through the zoom alone: the mask M, zero on a square of int(side * z) pixels, has no gradient.
"""

import torch
from torch import Tensor, nn

from vptx.geometry import Geometry
from vptx.prompters.image import PlacedPrompter
from vptx.registry import PROMPTERS

SMALLEST, LARGEST = 0.1, 5.0


@PROMPTERS.register_module()
class ScalePrompter(PlacedPrompter):
    """Pixels under and around a small image of learnt size: 3 * H * W + 1 numbers.

    Adam moves z by about its learning rate, whatever its gradient, which the public code clips at 0.001: give ``scale``
    a small ``lr_mult``.

    Source: Tsao et al. (AutoVP), ICLR 2024, https://arxiv.org/abs/2310.08381.

    Args:
        side: pixels of a side of the image initially.
        space, bound, init: of ``ImagePrompter``.
    """

    def __init__(self, side: int = 128, space: str = 'unit', bound: str = 'sigmoid', init: str = 'zero') -> None:
        super().__init__(side, space=space, bound=bound, init=init)

    def allocate(self, geometry: Geometry) -> None:
        self.delta = self.draw(geometry, geometry.channels, *self.size)
        self.zoom = nn.Parameter(torch.ones(()))

    def place(self, image: Tensor) -> Tensor:
        image = super().place(image) - self.zero
        inverse = 1 / self.zoom.clamp(SMALLEST, LARGEST)
        return zoom(zoom(image, inverse, 2), inverse, 3) + self.zero

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


def zoom(image: Tensor, inverse: Tensor, dim: int) -> Tensor:
    """One side of (B, 3, H, W) made ``1 / inverse`` times as long around its middle, and cut or filled with zeros to
    what it was; between pixels linear. torch's ``grid_sample`` does so too, and has no forward derivative."""
    length = image.shape[dim]
    places = torch.arange(length, device=image.device)
    source = (inverse * (2 * places + 1 - length) + length - 1) / 2  # where in the image each pixel comes from
    low = source.detach().floor()
    parts = []
    for place, share in ((low, 1 - (source - low)), (low + 1, source - low)):
        share = share * ((place >= 0) & (place < length))
        part = image.index_select(dim, place.clamp(0, length - 1).long())
        parts.append(part * share.to(image.dtype).unflatten(0, (-1, *[1] * (3 - dim))))
    return parts[0] + parts[1]
