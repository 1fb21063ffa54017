"""What a decoder would drop of an image file: bits beyond eight, and bands beyond colours.

One rule: an image of more than eight bits for each value is read with all its bits, or raises an error.
``color_type='color'`` keeps the upper eight bits only, so that 12 bits in a file of 16 become 0 to 15.
"""

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import TiffImagePlugin

__all__ = ['Depth', 'loss', 'read_depth']

_TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
_EIGHT_BITS = (b'\xff\xd8', b'GIF8', b'BM', b'RIFF')  # JPEG, GIF, BMP, WebP
_GREY, _RGB = (0, 1), 2  # photometric interpretations of TIFF

_WHOLE = (
    "Read it by dict(type='LoadDeepImage', {}), which maps low to high onto 0 to 255 without rounding; or by "
    "dict(type='LoadImageFromFile', color_type='unchanged', to_float32=True) with mean and std of the "
    'data_preprocessor in the units of the file'
)
_BANDS = (
    "Read it by dict(type='LoadBands', channels={}) (pip install 'vptx[bands]') and give the network and the "
    'data_preprocessor that many channels'
)


class Depth(NamedTuple):
    """What is stored for each pixel.

    Attributes:
        bits: of each value.
        bands: how many values; 0 where the format leaves no doubt.
        colours: whether the bands are grey, RGB or RGB and alpha, which every decoder knows.
        kind: ``'integer'`` or ``'float'``.
    """

    bits: int
    bands: int = 0
    colours: bool = True
    kind: str = 'integer'

    def __str__(self) -> str:
        bands = f'{self.bands} band{"s" * (self.bands > 1)} of ' if self.bands else ''
        return f'{bands}{self.bits}-bit {self.kind} values'


def read_depth(path: str | Path) -> Depth:
    """The depth of a local image file, from its header where the format has one.

    A file that is no image at all is taken for one of eight bits: decoding it says what is wrong.
    """
    with open(path, 'rb') as file:
        head = file.read(32)
        if head.startswith(_EIGHT_BITS):
            return Depth(8)
        if head.startswith(b'\x89PNG'):
            return Depth(head[24] if len(head) > 24 else 8)
        content = head + file.read()
    if head.startswith(_TIFF):
        return _read_tiff(content)
    if not content:
        return Depth(8)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)  # PNM, JPEG 2000, AVIF, ...
    if pixels is None:
        return Depth(8)
    return Depth(8 * pixels.itemsize, kind='float' if pixels.dtype.kind == 'f' else 'integer')


def _read_tiff(content: bytes) -> Depth:
    try:
        tags: Any = TiffImagePlugin.ImageFileDirectory_v2(
            content[: 16 if content[2] in b'+' or content[3] == 43 else 8]
        )
        stream = BytesIO(content)
        stream.seek(tags.next)
        tags.load(stream)
        bands, photometric = int(tags.get(277, 1)), tags.get(262, _GREY[1])
        bits, floats = max(np.ravel(tags.get(258, 1))), 3 in np.ravel(tags.get(339, 1))
    except Exception:  # whatever a damaged header leads to: the decoder says what is wrong
        return Depth(8)
    colours = bands <= 4 if photometric not in _GREY else bands <= 2
    return Depth(int(bits), bands, colours, 'float' if floats else 'integer')


def loss(path: str | Path, color_type: str | int, backend: str) -> str | None:
    """What mmcv's ``LoadImageFromFile`` would drop of a file or cannot decode, and what to do; None if nothing.

    Args:
        path: of a local file.
        color_type: of mmcv, a name or OpenCV's flag.
        backend: of mmcv, such as ``'cv2'``.
    """
    if backend == 'tifffile':
        return None
    if str(path).lower().endswith('.npy'):
        return f'it is an array of numpy, which no decoder of images reads. {_BANDS.format("...")}'
    depth = read_depth(path)
    if not depth.colours:
        return f'it is a TIFF of {depth}, of which {backend} would lose bands. {_BANDS.format(depth.bands)}'
    if isinstance(color_type, int):
        whole = color_type == cv2.IMREAD_UNCHANGED or bool(color_type & cv2.IMREAD_ANYDEPTH)
    else:
        whole = color_type == 'unchanged'
    if depth.bits > 8 and not whole:
        how = 'low=0, high=...' if depth.kind == 'integer' else "low=..., high=..., imdecode_backend='tifffile'"
        return f'it has {depth}, of which color_type={color_type!r} keeps eight bits or none. {_WHOLE.format(how)}'
    return None
