"""VTAB-1k, FGVC and the data sets of CoOp in small: the same folders and files, a few images."""

import json
from pathlib import Path

import mmcv
import numpy as np

from vptx.datasets.coop import COOP

COUNTS = dict(train=8, val=4, test=6)


def write_image(path: Path, label: int, size: int = 16) -> None:
    """A noisy image whose colour tells its class."""
    rng = np.random.default_rng([label, sum(map(ord, path.name))])
    image = rng.integers(0, 60, (size, size, 3)) + np.array([label * 60 % 190, 90, 190 - label * 60 % 190])
    mmcv.imwrite(image.astype(np.uint8), str(path))


def write_vtab(root: Path, task: str, classes: int = 4, counts: dict = COUNTS) -> Path:
    """``root/task`` as VTAB-1k is passed on; the folder of the task."""
    folder = root / task
    for split, name in (('train', 'train800'), ('val', 'val200'), ('test', 'test')):
        lines = []
        for i in range(counts[split]):
            path = f'images/{name}/{i:06}.png'
            write_image(folder / path, i % classes)
            lines.append(f'{path} {i % classes}')
        (folder / f'{name}.txt').write_text('\n'.join(lines) + '\n')
    both = ((folder / f'{name}.txt').read_text() for name in ('train800', 'val200'))
    (folder / 'train800val200.txt').write_text(''.join(both))
    return folder


def write_fgvc(root: Path, task: str, images: str, ids: tuple[int, ...] = (1, 3, 7)) -> Path:
    """``root/task`` as the public splits have it, classes not numbered from 0; the folder of the task."""
    folder = root / task
    for split, count in COUNTS.items():
        entries = {f'{split}/{i}.png': ids[i % len(ids)] for i in range(count)}
        for name, found in entries.items():
            write_image(folder / images / name, found)
        (folder / f'{split}.json').write_text(json.dumps(entries))
    return folder


def write_coop(root: Path, task: str = 'coop_eurosat', each: dict | None = None, pixels: bool = True) -> Path:
    """``root/folder`` with a split of CoOp, ``each`` images of every class in each split; the folder of the task."""
    facts, folder = COOP[task], root / COOP[task].folder
    found: dict[str, list] = {}
    for split, number in (each or dict(train=3, val=2, test=2)).items():
        found[split] = []
        for label in range(facts.classes):
            for i in range(number):
                path = f'kind_{label:03}/{split}_{i}.png'
                found[split].append([path, label, f'kind_{label}'])
                if pixels:
                    write_image(folder / facts.images / path, label)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / facts.listed).write_text(json.dumps(found))
    return folder


def write_imagenet(root: Path, task: str = 'coop_imagenet', each: int = 1, classes: int | None = None) -> Path:
    """``root/folder`` with the folders of some of the 1,000 classes, whose files are empty; the folder of the task."""
    facts, folder = COOP[task], root / COOP[task].folder
    (root / 'imagenet').mkdir(parents=True, exist_ok=True)
    lines = [f'n{i:08} kind {i}' for i in range(1000)]
    (root / 'imagenet' / 'classnames.txt').write_text('\n'.join(lines) + '\n')
    step = 1000 // facts.classes
    for split in ('train', 'val') if facts.sizes[0] else ('',):
        for label in range(0, 1000, step)[:classes]:
            place = folder / facts.images / split / (str(label) if facts.numbered else f'n{label:08}')
            place.mkdir(parents=True)
            for i in range(1 if split == 'val' else each):
                (place / f'{i}.JPEG').touch()
    return folder
