"""Images of any number of bands: satellite, medical and industrial ones, as multi-band TIFF or ``.npy``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmcv.transforms import LoadImageFromFile

from vptx.files import existing, read_array
from vptx.image_files import choose_bands, shown
from vptx.registry import TRANSFORMS

__all__ = ['LAYOUTS', 'LoadBands', 'picture']

#: Where the bands of an array are: after or before rows and columns.
LAYOUTS = ('last', 'first')
_SAMPLES = 'SC'  # axes of a TIFF that are bands, by tifffile's letters


@TRANSFORMS.register_module()
class LoadBands(LoadImageFromFile):
    """Read an image of several bands: (H, W, C), the values as they are in the file.

        dict(type='LoadBands', channels=13)
        dict(type='LoadBands', channels=13, bands=[4, 3, 2, 8])

    Files of 8-bit values stay so, all others become float32. Give the network as many channels (``in_chans`` of timm)
    and the ``data_preprocessor`` ``mean`` and ``std`` of each, in the units of the file, and ``to_rgb=False``.

    Args:
        channels: how many bands every file has.
        bands: those to take, in this order, counted from 1; None for all.
        layout: where the bands are in a ``.npy``, and in a TIFF that does not say it: ``'last'``, (H, W, C), or
            ``'first'``, (C, H, W). One band may be (H, W).

    Raises:
        ImportError: a TIFF, and tifffile is not installed.
        ValueError: options that cannot be; a file that cannot be read, that has another number of bands or that holds
            numbers that are not finite.
    """

    def __init__(self, channels: int, bands: Sequence[int] | None = None, layout: str = 'last') -> None:
        super().__init__(color_type='unchanged', imdecode_backend='tifffile')  # no orientation tag is applied
        if not isinstance(channels, int) or channels < 1:
            raise ValueError(f'LoadBands needs channels=, the number of bands of every file, not {channels!r}')
        if layout not in LAYOUTS:
            raise ValueError(f'layout must be one of {", ".join(map(repr, LAYOUTS))}, not {layout!r}')
        if bands is not None and (not bands or not all(isinstance(b, int) and 1 <= b <= channels for b in bands)):
            raise ValueError(f'bands={bands!r} must be numbers from 1 to {channels}, the channels of a file')
        self.channels, self.layout = channels, layout
        self.bands = None if bands is None else list(bands)

    def transform(self, results: dict) -> dict:
        path = results['img_path']
        image = self._arranged(*_read(path), path)
        if self.bands is not None:
            image = image[..., [band - 1 for band in self.bands]]
        if image.dtype != np.uint8:
            image = image.astype(np.float32)
        if not np.isfinite(image).all():
            raise ValueError(f'{shown(path)} has values that are not finite, such as NaN where nothing was measured')
        results['img'] = np.ascontiguousarray(image)
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _arranged(self, image: np.ndarray, axes: str, path: str | Path) -> np.ndarray:
        """The array of a file with its bands last."""
        if image.ndim == 2:
            image, axes = image[..., None], 'YXS'
        if image.ndim != 3 or image.dtype.kind not in 'buif':
            raise ValueError(f'{shown(path)} is no image: it is {_described(image)}, not rows, columns and bands')
        found = next((axes.index(letter) for letter in _SAMPLES if letter in axes), None)
        at = (0 if self.layout == 'first' else 2) if found is None else found
        image = np.moveaxis(image, at, 2)
        if image.shape[2] != self.channels:
            rows, columns, bands = image.shape
            hint = ''
            if found is None and self.channels in (rows, columns):
                other = 'last' if self.layout == 'first' else 'first'
                hint = f", or say layout={other!r}, where that is where the file's bands are"
            raise ValueError(
                f'{shown(path)} has {bands} bands of {rows} x {columns} px, and LoadBands expects {self.channels}: set '
                f'channels={bands} and build the network and the data_preprocessor for what it takes{hint}'
            )
        return image

    def __repr__(self) -> str:
        return f'LoadBands(channels={self.channels}, bands={self.bands}, layout={self.layout!r})'


def picture(image: np.ndarray, bands: Sequence[int] | None = None) -> np.ndarray:
    """An image as it was loaded, (H, W) or (H, W, C) of any type, to be looked at: (H, W, 3) RGB, uint8.

    Args:
        image: with colours in the order BGR; other types than uint8 are drawn by the range of the image.
        bands: of ``choose_bands``; by default the colours, or the first three of more than four.

    Raises:
        ValueError: bands that the image does not have.
    """
    image = np.atleast_3d(image)
    channels = image.shape[2]
    image = image[..., choose_bands(channels, bands, (3, 2, 1) if channels in (3, 4) else None)]
    if image.dtype != np.uint8:
        image = image.astype(np.float32)
        least, most = np.nanmin(image), np.nanmax(image)
        image = np.nan_to_num(255 * (image - least) / ((most - least) or 1)).astype(np.uint8)
    return np.ascontiguousarray(image)


def _read(path: str | Path) -> tuple[np.ndarray, str]:
    """The array of a file, and the letters of its axes; empty where it has none."""
    file = existing(path)
    if file.suffix.lower() == '.npy':
        return read_array(file).numpy(), ''
    try:
        from tifffile import TiffFile, TiffFileError
    except ImportError as error:
        raise ImportError(f"{shown(path)} is read by tifffile: pip install 'vptx[bands]'") from error
    try:
        with TiffFile(file) as tiff:
            parts = tiff.series
            if not parts:
                raise TiffFileError('there is no image in it')
            if len(parts) != 1:
                raise ValueError(f'{shown(path)} holds {len(parts)} images of several sizes or types, not one of bands')
            return parts[0].asarray(), parts[0].axes
    except (TiffFileError, KeyError, IndexError, TypeError, OSError, EOFError) as error:
        raise ValueError(f'{shown(path)} cannot be read as a TIFF or .npy of bands: {error}') from error


def _described(image: np.ndarray) -> str:
    return f'an array {image.shape} of {image.dtype}'
