"""Learnt pixels: the numbers they are in, how they begin, and the size of the images that they belong to.

A prompt on the image is in the units of a *space*. The image that the network sees is normalised by its mean and
standard deviation, and a number v of a space, pixels of which run from ``origin`` by ``unit``, is there

    (origin + unit * v - mean) / std

so added pixels are scaled by unit / std, and zero is the colour (origin - mean) / std.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vptx.geometry import Geometry

__all__ = ['INITS', 'SPACES', 'check_choice', 'check_size', 'convert_lr', 'draw_pixels', 'space_of']

#: ``'normalised'``, as the network sees them; ``'unit'``, in [0, 1]; ``'symmetric'``, in [-1, 1].
SPACES = ('normalised', 'unit', 'symmetric')
INITS = ('zero', 'gaussian', 'normalised')


def space_of(name: str, mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """``origin`` and ``unit`` of a space, in pixels in [0, 1]: two (3, 1, 1)."""
    known: dict[str, tuple[Sequence[float], Sequence[float]]] = {
        'normalised': (mean, std),
        'unit': ([0.0] * 3, [1.0] * 3),
        'symmetric': ([0.5] * 3, [0.5] * 3),
    }
    origin, unit = (torch.tensor(values)[:, None, None] for values in known[name])
    return origin, unit


def convert_lr(lr: float, source: str, target: str, geometry: Geometry, power: int = 2) -> float:
    """The learning rate that does to a prompt in one space what ``lr`` does to the same prompt in another.

    Of a prompt in units r = unit_source / unit_target as large, lr * r ** power. Exact where all channels have one
    standard deviation, and no weight decay; their mean otherwise. Bahng's 40 in CLIP's normalised space is 2.9 in
    ``'unit'``.

    Args:
        power: 2 for SGD, whose step grows with the gradient; 1 for Adam and EVP's normalised steps, which do not.
    """
    (_, theirs), (_, ours) = (space_of(name, geometry.mean, geometry.std) for name in (source, target))
    return lr * float(((theirs / ours) ** power).mean())


@torch.no_grad()
def draw_pixels(pixels: Tensor, init: str, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> Tensor:
    """Fill ``pixels`` (3, h, w), in place: ``'normalised'``, U(0, 1) normalised by ``mean`` and ``std``, as images are;
    ``'gaussian'``, N(0, 1); ``'zero'``."""
    if init == 'gaussian':
        return pixels.normal_()
    if init == 'zero':
        return pixels.zero_()
    mean, std = (torch.as_tensor(values).reshape(3, 1, 1) for values in (mean, std))
    return pixels.uniform_().sub_(mean).div_(std)


def check_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """``value``, or a ValueError that lists what there is."""
    if value not in choices:
        raise ValueError(f'{name} must be one of {", ".join(map(repr, choices))}, not {value!r}')
    return value


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
