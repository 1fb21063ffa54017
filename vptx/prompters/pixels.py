"""How learnt pixels begin. They live where the network's images do: normalised, by its mean and standard deviation."""

import torch
from torch import Tensor

from vptx.geometry import Geometry

__all__ = ['check_size', 'draw_pixels']


@torch.no_grad()
def draw_pixels(pixels: Tensor, init: str, geometry: Geometry) -> Tensor:
    """Fill ``pixels`` (3, h, w), in place: ``'normalised'``, U(0, 1) normalised as the network's images are;
    ``'gaussian'``, N(0, 1); ``'zero'``, the mean colour of its images."""
    if init == 'gaussian':
        return pixels.normal_()
    if init == 'zero':
        return pixels.zero_()
    mean, std = (torch.tensor(values)[:, None, None] for values in (geometry.mean, geometry.std))
    return pixels.uniform_().sub_(mean).div_(std)


def check_size(image: Tensor, size: tuple[int, int], learnt: str) -> None:
    """Refuse an image (B, 3, H, W) that is not of the size that pixels were learnt for.

    Raises:
        ValueError: says both sizes.
    """
    height, width = image.shape[-2:]
    if (height, width) != size:
        raise ValueError(
            f'{learnt} for images of {size[0]} x {size[1]} px, this one has {height} x {width}: keep one size, and '
            'build the network with img_size=... where it is not its own'
        )
