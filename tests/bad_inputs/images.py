"""Photographs: to predict, to train on."""

import struct
import zlib
from pathlib import Path
from typing import Any

from PIL import Image
from suites import write_image

import vptx
from vptx.configs import read_config
from vptx.predict import find_images, predict

from .battery import Bait, Kind, Spoil
from .image_lists import PIPELINE, run
from .prompt_files import trained
from .spoils import BYTES, PICKLES, content


def good(folder: Path) -> Path:
    """Among others, of two classes."""
    for split in ('train', 'val'):
        for i in range(6):
            write_image(folder / split / ('cat', 'dog')[i % 2] / f'{i}.png', i % 2)
    path = folder / 'train' / 'cat' / 'spoilt.png'
    write_image(path, 0)
    return path


def predicted(path: Path, work: Path) -> Any:
    config = read_config(trained() / 'config.py')
    config.test_dataloader.dataset.pipeline = PIPELINE
    model = vptx.init_model(config, trained() / 'prompt.safetensors')
    found = [*predict(model, find_images([path.parent]))]
    for prediction in found:  # of a file that cannot be read there is a row in the table that says so
        if prediction.error:
            raise ValueError(prediction.error)
    return [(one.path.name, one.name, one.score) for one in found]


def trained_on(path: Path, work: Path) -> Any:
    return run(dict(type='CustomImages', data_root=str(path.parent.parent.parent)), 2, work)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def png(width: int, height: int, depth: int = 8, colour: int = 2, body: bytes = b'') -> bytes:
    """A PNG whose header says what it likes."""
    head = struct.pack('>IIBBBBB', width, height, depth, colour, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(body)) + chunk(b'IEND', b'')


def saved(format_: str, cut: float = 1.0, **options: Any) -> Spoil:
    """A photograph in another format, under the name of the first, or a part of it."""

    def spoil(path: Path, bait: Bait) -> None:
        Image.open(path).convert('RGB').save(path.with_suffix('.tmp'), format_, **options)
        whole = path.with_suffix('.tmp').read_bytes()
        path.with_suffix('.tmp').unlink()
        path.write_bytes(whole[: int(cut * len(whole))])

    return spoil


KIND = Kind(
    'image',
    good,
    {
        **{name: spoil for name, spoil in BYTES.items() if name not in ('not there', 'a folder', 'a picture')},
        **PICKLES,
        'half a JPEG': saved('JPEG', 0.4),
        'half a TIFF': saved('TIFF', 0.5),
        'half a WebP': saved('WEBP', 0.5),
        'half a BMP': saved('BMP', 0.1),
        'half a GIF': saved('GIF', 0.3),
        'a PNG without pixels': content(png(16, 16)),
        'a PNG of no pixel': content(png(0, 16)),
        'a PNG of 2**31 pixels a side': content(png(2**31 - 1, 2**31 - 1)),
        'a PNG of 100,000 pixels a side': content(png(100_000, 100_000)),
        'a PNG of no known kind of colour': content(png(16, 16, colour=5)),
        'a PNG of 7 bits': content(png(16, 16, depth=7)),
        'a drawing': content(b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>'),
        'a document': content(b'%PDF-1.4\n'),
        'an array': content(b'\x93NUMPY\x01\x00'),
        'a film': content(b'\0\0\0\x20ftypisom' + bytes(40)),
    },
    {'predict': predicted, 'a run': trained_on},
    harmless=('a link to nothing', 'a link to itself', 'a pipe'),
)
