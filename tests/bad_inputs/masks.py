"""Masks and photographs of a segmentation data set."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DefaultScope
from PIL import Image
from segruns import CLASSES, LABELS, LOAD, PACK, write_images

import vptx.segmentation  # noqa: F401  registers what checks masks
from vptx.registry import DATASETS

from .battery import Bait, Kind, Spoil
from .images import png
from .spoils import BYTES, PICKLES, content

SPLIT = 'training'


def good(folder: Path) -> Path:
    return write_images(folder / 'seg', 3) / 'annotations' / SPLIT / '1.png'


def photograph(folder: Path) -> Path:
    return write_images(folder / 'seg', 3) / 'images' / SPLIT / '1.png'


def _read(path: Path, **config: Any) -> Any:
    """All images and masks, as a run reads them."""
    prefix = dict(img_path=f'images/{SPLIT}', seg_map_path=f'annotations/{SPLIT}')
    common = dict(data_root=str(path.parent.parent.parent), data_prefix=prefix, pipeline=[LOAD, LABELS, PACK])
    with DefaultScope.overwrite_default_scope('mmseg'):
        data = DATASETS.build(dict(common, **config))
        items = [data[i] for i in range(len(data))]
    return [(item['inputs'], item['data_samples'].gt_sem_seg.data) for item in items]


def stock(path: Path, work: Path) -> Any:
    return _read(path, type='TinySeg')


def own(path: Path, work: Path) -> Any:
    return _read(path, type='CustomMasks', labels={0: None, **dict(enumerate(CLASSES, 1))})


DOORS = {"a data set of mmseg's": stock, 'CustomMasks': own}


def drawn(make: Callable[[np.ndarray], np.ndarray], **options: Any) -> Spoil:
    """Another mask, made of the labels of a good one."""

    def spoil(path: Path, bait: Bait) -> None:
        Image.fromarray(make(np.array(Image.open(path)))).save(path, **options)

    return spoil


def _label(value: int, type_: Any = np.uint8) -> Callable[[np.ndarray], np.ndarray]:
    def make(labels: np.ndarray) -> np.ndarray:
        labels = labels.astype(type_)
        labels[0, 0] = value
        return labels

    return make


def _turned(path: Path, bait: Bait) -> None:
    """A tag says that it lies on its side."""
    image = Image.open(path)
    tags = image.getexif()
    tags[0x0112] = 6
    image.resize((32, 24)).save(path, exif=tags)


BROKEN = {
    **{name: spoil for name, spoil in BYTES.items() if name != 'not there'},
    **PICKLES,
    'a PNG without pixels': content(png(32, 32)),
    'a PNG of no pixel': content(png(0, 32)),
    'a PNG of 2**31 pixels a side': content(png(2**31 - 1, 2**31 - 1)),
    'a PNG of 100,000 pixels a side': content(png(100_000, 100_000)),
    'not there': BYTES['not there'],
}

KIND = Kind(
    'mask',
    good,
    {
        **BROKEN,
        'a label too large': drawn(_label(5)),
        'a label of 254': drawn(_label(254)),
        'a label of 16 bits': drawn(_label(300, np.uint16)),
        'a label of 256 and a label': drawn(_label(257, np.uint16)),
        'the labels of two classes as 0 and 255': drawn(lambda labels: (labels > 2).astype(np.uint8) * 254),
        'colours': drawn(lambda labels: np.stack([labels * 60] * 3, -1)),
        'with transparency': drawn(lambda labels: np.stack([labels] * 4, -1)),
        'of another size': drawn(lambda labels: labels[:16]),
        'turned': drawn(lambda labels: labels[:, :24].T.copy()),
        'as a JPEG': drawn(lambda labels: labels * 60, format='JPEG'),
        'numbers with fractions': drawn(lambda labels: labels.astype(np.float32) + 0.5, format='TIFF'),
        'turned by a tag': _turned,
    },
    DOORS,
    harmless=('without its last bytes',),  # all pixels are there
)
PHOTOGRAPH = Kind(
    'photograph with a mask',
    photograph,
    {**BROKEN, 'of another size': drawn(lambda pixels: pixels[:16])},
    DOORS,
)
