"""Learnt pixels: the numbers they are in, how they begin, and the size of the images that they belong to.

A prompt on the image is in the units of a *space*. The image that the network sees is normalised by its mean and
standard deviation, and a number v of a space, whose pixels in [0, 1] are origin + unit * v, is there

    (origin + unit * v - mean) / std

so added pixels are scaled by unit / std, and zero is the colour (origin - mean) / std.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vptx.geometry import Geometry

__all__ = [
    'INITS',
    'SPACES',
    'check_choice',
    'check_size',
    'convert_lr',
    'draw_pixels',
    'in_network',
    'pixel_statistics',
]

#: Besides ``'normalised'``, as the network sees pixels: their origin and unit.
_SPACES = dict(unit=(0.0, 1.0), symmetric=(0.5, 0.5))
SPACES = ('normalised', *_SPACES)
INITS = ('zero', 'gaussian', 'normalised')


def _space(name: str, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """``origin`` and ``unit``, two (C, 1, 1) for images of C channels."""
    known = _SPACES.get(name) or pixel_statistics(geometry)
    origin, unit = (torch.tensor(values).expand(geometry.channels)[:, None, None] for values in known)
    return origin, unit


def in_network(space: str, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """The size that one of a space has for the network, and the colour that zero has: two (C, 1, 1).

    Raises:
        ValueError: the normalisation of the network's pixels is unknown.
    """
    if space == 'normalised':
        return torch.ones(geometry.channels, 1, 1), torch.zeros(geometry.channels, 1, 1)
    (origin, unit), (mean, std) = _space(space, geometry), _space('normalised', geometry)
    return unit / std, (origin - mean) / std


def convert_lr(lr: float, source: str, target: str, geometry: Geometry, power: int = 2) -> float:
    """The learning rate that does to a prompt in the space ``target`` what ``lr`` does to the same one in ``source``.

    A prompt is r = unit_source / unit_target times as large there, and lr * r ** power does the same. Exact where all
    channels have one standard deviation, the mean over channels otherwise. Bahng's 40 in CLIP's normalised space is 2.9
    in ``'unit'``.

    Args:
        power: 2 for SGD, whose steps grow with the gradient; 1 for Adam and for normalised gradients, whose do not.
    """
    (_, source_unit), (_, target_unit) = _space(source, geometry), _space(target, geometry)
    return lr * float(((source_unit / target_unit) ** power).mean())


@torch.no_grad()
def draw_pixels(pixels: Tensor, init: str, geometry: Geometry, space: str = 'normalised') -> Tensor:
    """Fill ``pixels`` (C, h, w), in place: ``'normalised'``, pixels of U(0, 1), in the numbers of ``space``: by default
    normalised as the network's images are; ``'gaussian'``, N(0, 1); ``'zero'``, by default the mean colour."""
    if init == 'gaussian':
        return pixels.normal_()
    if init == 'zero':
        return pixels.zero_()
    origin, unit = _space(space, geometry)
    return pixels.uniform_().sub_(origin).div_(unit)


def pixel_statistics(geometry: Geometry) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the network's pixels.

    Raises:
        ValueError: they are not known, or differ from channel to channel and are known for another number of them.
    """
    if not geometry.mean:
        raise ValueError(
            "init='normalised' and bound='clamp', and spaces other than 'normalised' need the mean and the standard "
            f'deviation of the pixels that {geometry.name} takes: attach to a model that has them, in a '
            'data_preprocessor around the backbone, or choose another init, bound or space'
        )
    if len(geometry.mean) == geometry.channels:
        return geometry.mean, geometry.std
    if len({*zip(geometry.mean, geometry.std, strict=True)}) > 1:
        raise ValueError(
            f'{geometry.name} takes images of {geometry.channels} channels, but the mean and the standard deviation of '
            f'its pixels are known for {len(geometry.mean)}: build it with those of all channels (for timm, '
            "pretrained_cfg_overlay=dict(mean=..., std=...)), or choose space='normalised', init='zero' or 'gaussian' "
            "and another bound than 'clamp'"
        )
    return geometry.mean[:1] * geometry.channels, geometry.std[:1] * geometry.channels


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
