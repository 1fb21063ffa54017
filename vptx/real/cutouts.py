"""Pictures on transparent ground, by class, in three splits that share no thing.

Pictures of one thing stay in one split: those whose file names begin with the same word (``apple_red``,
``apple_core``), and those that look alike or are each other's mirror image, whatever their names. The splits follow
from the names and pixels alone.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from vptx.real.archives import members

__all__ = ['SHARES', 'Cutout', 'labels_of', 'on_white', 'read_cutouts', 'split_cutouts']

#: Of the pictures of each class.
SHARES = dict(train=0.5, val=0.2, test=0.3)
#: Larger pictures are left out: some have 168 million pixels.
PIXELS = 2**24
SIDE = 224
#: Of 240 bits of a fingerprint, so many may differ between pictures that look alike.
ALIKE = 24


class Cutout(NamedTuple):
    """An object that was cut out of a picture of a package.

    Attributes:
        label: what it is.
        source: its name in the package.
        image: RGBA, trimmed to what can be seen.
    """

    label: str
    source: str
    image: Image.Image


def read_cutouts(archive: Path, label_of: Callable[[str], str | None]) -> list[Cutout]:
    """The pictures of a package that have a label, sorted by name.

    Args:
        archive: the package.
        label_of: the class of a member, by its name; None where it has none.

    Raises:
        ValueError: begins with the archive; a member is no picture, or there are none.
    """
    found = []
    for name, content in members(archive, lambda name: name.endswith('.png') and label_of(name) is not None):
        try:
            image = _open(content)
        except (OSError, ValueError, SyntaxError) as error:
            raise ValueError(f'{archive}: {name} cannot be read: {error}') from error
        seen = image and image.getchannel('A').point(lambda alpha: 255 * (alpha >= 128)).getbbox()
        if image and seen and min(seen[2] - seen[0], seen[3] - seen[1]) >= 16:
            image = image.crop(seen)
            image.thumbnail((2 * SIDE, 2 * SIDE), Image.Resampling.LANCZOS)
            found.append(Cutout(str(label_of(name)), name, image))
    if not found:
        raise ValueError(f'{archive} has none of the pictures that are expected')
    return sorted(found, key=lambda cutout: cutout.source)


def _open(content: bytes) -> Image.Image | None:
    """A picture, or None for one that is too large. Its size is read before any pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        try:
            file = Image.open(io.BytesIO(content))
        except Image.DecompressionBombError:
            return None
    with file:
        return file.convert('RGBA') if file.width * file.height <= PIXELS else None


def on_white(image: Image.Image, side: int = SIDE) -> Image.Image:
    """The picture in the middle of a white square, as large as it fits."""
    fitted = ImageOps.contain(image, (side, side), Image.Resampling.BICUBIC)
    ground = Image.new('RGBA', (side, side), 'white')
    ground.alpha_composite(fitted, ((side - fitted.width) // 2, (side - fitted.height) // 2))
    return ground.convert('RGB')


def split_cutouts(cutouts: Sequence[Cutout]) -> dict[str, list[Cutout]]:
    """``'train'``, ``'val'`` and ``'test'`` -> pictures; each class has about its ``SHARES`` in each."""
    groups: dict[int, list[Cutout]] = {}
    for cutout, number in zip(cutouts, _groups(cutouts), strict=True):
        groups.setdefault(number, []).append(cutout)
    total = {label: sum(c.label == label for c in cutouts) for label in {c.label for c in cutouts}}
    lacking = {(split, label): share * total[label] for split, share in SHARES.items() for label in total}
    splits: dict[str, list[Cutout]] = {split: [] for split in SHARES}
    # Large groups first, while there is space for them everywhere; the others in an order that means nothing.
    for group in sorted(groups.values(), key=lambda group: (-len(group), sha256(group[0].source.encode()).digest())):
        needs = {split: sum(lacking[split, c.label] / total[c.label] for c in group) for split in SHARES}
        chosen = max(needs, key=needs.__getitem__)
        splits[chosen] += group
        for cutout in group:
            lacking[chosen, cutout.label] -= 1
    return {split: sorted(chosen, key=lambda cutout: cutout.source) for split, chosen in splits.items()}


def _groups(cutouts: Sequence[Cutout]) -> list[int]:
    """A number for each picture, the same for those that must stay together."""
    parent = list(range(len(cutouts)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    words: dict[str, int] = {}
    for i, cutout in enumerate(cutouts):
        parent[root(i)] = root(words.setdefault(_first_word(cutout.source), i))
    prints = np.stack([_fingerprint(cutout.image) for cutout in cutouts])
    mirrored = np.stack([_fingerprint(ImageOps.mirror(cutout.image)) for cutout in cutouts])
    for i in range(len(cutouts)):
        differing = np.minimum((prints[i] != prints).sum(1), (prints[i] != mirrored).sum(1))
        for j in np.flatnonzero(differing <= ALIKE):
            parent[root(i)] = root(int(j))
    return [root(i) for i in range(len(cutouts))]


def _first_word(source: str) -> str:
    stem = Path(source).stem.lower()
    found = re.search('[a-z]{2,}', re.sub(r'(?<=[a-z])(?=[A-Z])', '_', Path(source).stem).lower())
    return found[0] if found else stem


def _fingerprint(image: Image.Image) -> np.ndarray:
    """240 bits of the picture, stretched to a square: is a cell of 16 x 15 darker than the one to its right?"""
    ground = Image.new('RGBA', image.size, 'white')
    ground.alpha_composite(image)
    cells = np.asarray(ground.convert('L').resize((16, 16), Image.Resampling.BOX), int)
    return (cells[:, :-1] < cells[:, 1:]).ravel()


def labels_of(folders: Mapping[str, str], root: str) -> Callable[[str], str | None]:
    """The label of a member by the folder that it is in, of ``{folder: label}``."""

    def find(name: str) -> str | None:
        return next((label for folder, label in folders.items() if name.startswith(f'{root}/{folder}/')), None)

    return find
