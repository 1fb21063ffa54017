"""Features that a cache keeps: a folder of numbers and what they are of."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vptx.features.store import read_features, write_features

from .battery import Bait, Kind, Spoil
from .spoils import ARRAYS, BYTES, PICKLES

ABOUT = dict(network='vit', layer=None)


def write(folder: Path) -> Path:
    path = folder / 'kept'
    samples = [dict(data=dict(gt_label=[[i], 'int64']), meta=dict(img_path=f'{i}.png')) for i in range(4)]
    features = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    write_features(path, ABOUT, 4, [((features,), samples)])
    return path


def read(path: Path, work: Path) -> Any:
    found = read_features(path, ABOUT)
    return dict(rows=[found[i] for i in range(len(found))], samples=found.samples)


def within(name: str, spoil: Spoil) -> Spoil:
    """That of a file in the folder; an error names it or the folder."""

    def spoil_file(path: Path, bait: Bait) -> Path:
        spoil(path / name, bait)
        return path

    return spoil_file


def told(edit: Callable[[dict], Any]) -> Spoil:
    """Another ``about.json``, with a check sum that agrees: written by whoever can write there."""

    def spoil(path: Path, bait: Bait) -> None:
        found = json.loads(json.loads((path / 'about.json').read_text())['content'])
        text = json.dumps(edit(found) or found)
        rows = np.load(path / 'features.npy')
        check = sha256(np.ascontiguousarray(rows).data)
        check.update(text.encode())
        (path / 'about.json').write_text(json.dumps(dict(sha256=check.hexdigest(), content=text)))

    return spoil


def _text(text: str) -> Spoil:
    def spoil(path: Path, bait: Bait) -> None:
        (path / 'about.json').write_text(text)

    return spoil


FORGED = {
    'no shapes': told(lambda found: found.pop('shapes') and None),
    'shapes that are words': told(lambda found: found.update(shapes='ab')),
    'shapes of more numbers': told(lambda found: found.update(shapes=[[7]])),
    'shapes of fewer numbers': told(lambda found: found.update(shapes=[[3]])),
    'negative shapes': told(lambda found: found.update(shapes=[[-1]])),
    'no type': told(lambda found: found.pop('dtype') and None),
    'a type that is none': told(lambda found: found.update(dtype='load')),
    'a type that nobody knows': told(lambda found: found.update(dtype='float31')),
    'a type of another size': told(lambda found: found.update(dtype='float64')),
    'no samples': told(lambda found: found.pop('samples') and None),
    'samples that are a number': told(lambda found: found.update(samples=3)),
    'fewer samples': told(lambda found: found['samples'].pop() and None),
    'nothing said of what they are': told(lambda found: found.pop('about') and None),
    'of something else': told(lambda found: found.update(about=dict(network='other'))),
    'a list': told(lambda found: [1, 2]),
    'about: nested without end': _text('[' * 100_000),
    'about: a list': _text('[1]'),
    'about: without a check sum': _text('{"content": "{}"}'),
    'about: another check sum': _text('{"content": "{}", "sha256": "00"}'),
    'about: content that is a number': _text('{"content": 3, "sha256": "00"}'),
}

KIND = Kind(
    'features',
    write,
    {
        **{f'features.npy: {name}': within('features.npy', spoil) for name, spoil in {**BYTES, **ARRAYS}.items()},
        'features.npy: pickles': within('features.npy', PICKLES['an array of pickles']),
        **{f'about.json: {name}': within('about.json', spoil) for name, spoil in BYTES.items()},
        **FORGED,
    },
    {'read_features': read},
)
