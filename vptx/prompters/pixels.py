"""How learnt pixels begin. They live where the network's images do: normalised, by its mean and standard deviation."""

import torch
from torch import Tensor

from vptx.geometry import Geometry

__all__ = ['check_size', 'draw_pixels', 'pixel_statistics']


@torch.no_grad()
def draw_pixels(pixels: Tensor, init: str, geometry: Geometry) -> Tensor:
    """Fill ``pixels`` (3, h, w), in place: ``'normalised'``, U(0, 1) normalised as the network's images are;
    ``'gaussian'``, N(0, 1); ``'zero'``, the mean colour of its images."""
    if init == 'gaussian':
        return pixels.normal_()
    if init == 'zero':
        return pixels.zero_()
    mean, std = (torch.tensor(values)[:, None, None] for values in pixel_statistics(geometry))
    return pixels.uniform_().sub_(mean).div_(std)


def pixel_statistics(geometry: Geometry) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the network's pixels.

    Raises:
        ValueError: nobody knows them.
    """
    if not geometry.mean:
        raise ValueError(
            f"init='normalised' needs the mean and the standard deviation of the pixels that {geometry.name} takes: "
            'attach to a model that has them, in a data_preprocessor around the backbone, or choose another init'
        )
    return geometry.mean, geometry.std


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
