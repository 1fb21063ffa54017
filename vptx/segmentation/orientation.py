"""Orientation tags of photographs: a number in the file that says how a camera was held."""

from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

__all__ = ['Header', 'read_header', 'turn']


class Header(NamedTuple):
    """What an image file says before its pixels.

    Attributes:
        size: (H, W) of the pixels as stored.
        tag: of the orientation, from 1 (as stored) to 8; beyond 4 the displayed image has height and width swapped.
        always: whether every decoder applies the tag, as those of TIFF do.
    """

    size: tuple[int, int]
    tag: int
    always: bool


def read_header(path: Any) -> Header | None:
    """The header of an image; None of what is no file on this machine, or none that Pillow knows."""
    try:
        with Image.open(path) as image:
            # Of a PNG without an early tag, getexif() would decode all pixels.
            found = image.getexif() if image.format != 'PNG' or 'exif' in image.info else {}
            tag, always = found.get(ExifTags.Base.Orientation, 1), image.format == 'TIFF'
            swapped = always and tag in (5, 6, 7, 8)  # Pillow gives the size as displayed
            size = image.size if swapped else image.size[::-1]
    except (OSError, TypeError, AttributeError, ValueError, Image.DecompressionBombError):
        return None
    return Header(size, tag if tag in range(1, 9) else 1, always)


def turn(mask: np.ndarray, tag: int) -> np.ndarray:
    """(H, W) -> (H, W) or (W, H), as a photograph with this tag is displayed."""
    image = Image.fromarray(mask)
    image.getexif()[ExifTags.Base.Orientation] = tag
    return np.asarray(ImageOps.exif_transpose(image))
