"""Mini-VTAB: ten tasks that need no download, with images of 64 px: 200 training, 100 validation and 500 test
images, in the three groups of Zhai et al. 2019, https://arxiv.org/abs/1910.04867

    Natural        digits on photographs, photographs by a patch, drawn objects on photographs
    Specialized    surfaces by their spectrum; vessels of a retina and stain of a tissue, measured
    Structured     how many, how far apart, which way, where

Photographs come with scikit-image and scikit-learn; drawings from ``formula``. No split shows
pixels of a photograph, a written digit or a drawing that another shows. Image i of a split is made from the seed, the
task, the split and i, so that it is the same on every machine.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from math import cos, pi, sin
from typing import NamedTuple

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image
from scipy.ndimage import grey_closing

from vptx.datasets.arrays import ArrayDataset, check_split, extra
from vptx.datasets.mini.formula import drawer, dress, ink, render
from vptx.datasets.mini.photo_patches import PHOTOGRAPHS, draw_box
from vptx.datasets.subset import Subset
from vptx.registry import DATASETS

__all__ = ['MINI_VTAB', 'MiniTask', 'MiniVTAB']

SIZE = 64
WORLD = 7  # of drawn categories: the mini networks are pre-trained on world 0
SPLITS = ('train', 'val', 'test')
Draw = Callable[[Generator, str, int], tuple[np.ndarray, int]]  # rng, split, i -> (64, 64, 3) uint8, label


# -------------------------------------------------------------------------------------------------- photographs


@cache
def _photograph(name: str) -> np.ndarray:
    """(H, W, 3) uint8"""
    with extra('scikit-image'), (files('skimage') / 'data' / PHOTOGRAPHS[name]).open('rb') as file:
        return np.asarray(Image.open(file).convert('RGB'))


def _patch(rng: Generator, photograph: np.ndarray, split: str) -> np.ndarray:
    """A square part of those that belong to the split, enlarged to 64 px: (64, 64, 3) or (64, 64), float32."""
    box = draw_box(rng, photograph.shape[0], photograph.shape[1], split)
    return np.asarray(Image.fromarray(photograph).crop(box).resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32)


def _relit(rng: Generator, patch: np.ndarray) -> np.ndarray:
    """Brightness, contrast and tint drawn at random, since they tell where in a photograph a patch was."""
    patch = (patch - patch.mean()) * (35 * 1.4 ** rng.uniform(-1, 1) / max(patch.std(), 6)) + rng.uniform(90, 165)
    return (patch + rng.normal(0, 10, 3)).round().clip(0, 255).astype(np.uint8)


def _on_photograph(rng: Generator, alpha: np.ndarray, split: str) -> np.ndarray:
    """Something small, alpha (side, side) in [0, 1], somewhere on a photograph, lighter or darker than that."""
    names = list(PHOTOGRAPHS)
    image = _relit(rng, _patch(rng, _photograph(names[rng.integers(len(names))]), split)).astype(np.float32)
    side = len(alpha)
    top, left = rng.integers(0, SIZE - side, 2, endpoint=True)
    part = image[top : top + side, left : left + side]
    tone = part.mean() + rng.choice((-1, 1)) * rng.uniform(60, 110) + rng.normal(0, 12, 3)
    part += alpha[..., None] * (tone - part)
    return image.round().clip(0, 255).astype(np.uint8)


# ----------------------------------------------------------------------------------------------------- natural


@cache
def _written() -> dict[str, list[tuple[np.ndarray, int]]]:
    """Handwritten digits (8, 8) in [0, 1] with their labels: 800, 200 and 797, shuffled once and for all."""
    with extra('scikit-learn'):
        from sklearn.datasets import load_digits
    digits = load_digits()
    order = default_rng(0).permutation(len(digits.target))
    rows = dict(zip(SPLITS, np.split(order, (800, 1000)), strict=True))
    return {split: [(digits.images[r] / 16, int(digits.target[r])) for r in rows[split]] for split in SPLITS}


def _digits(rng: Generator, split: str, i: int) -> tuple[np.ndarray, int]:
    """Which digit is written on the photograph?"""
    written = _written()[split]
    image, label = written[i % len(written)]
    side = int(rng.integers(28, 52))
    alpha = Image.fromarray(image.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    return _on_photograph(rng, np.asarray(alpha).clip(0, 1), split), label


def _photos(rng: Generator, split: str, i: int) -> tuple[np.ndarray, int]:
    """Which photograph does the patch come from?"""
    label = i % len(PHOTOGRAPHS)
    for _ in range(100):
        patch = _patch(rng, _photograph(list(PHOTOGRAPHS)[label]), split).mean(-1, keepdims=True)
        if patch.std() > 6:  # otherwise it is bare sky or paper, and could be anyone's
            break
    return _relit(rng, np.repeat(patch, 3, -1)), label


# Ten categories of contours, fractals, signs and scattered figures.
_OBJECTS = (0, 1, 2, 3, 5, 7, 9, 10, 11, 13)


def _objects(rng: Generator, split: str, i: int) -> tuple[np.ndarray, int]:
    """Which thing lies on the photograph?"""
    label = i % len(_OBJECTS)
    return _on_photograph(rng, drawer(_OBJECTS[label], WORLD)(rng, int(rng.integers(32, 56))), split), label


# ------------------------------------------------------------------------------------------------- specialised


# Twelve categories of spectral textures and gratings: those families' places in the cycle of eight.
_SURFACES = tuple(8 * turn + slot for turn in range(6) for slot in (4, 6))


def _surfaces(rng: Generator, split: str, i: int) -> tuple[np.ndarray, int]:
    """Of which surface is this?"""
    label = i % len(_SURFACES)
    instance = SPLITS.index(split) + len(SPLITS) * int(rng.integers(1 << 20))  # no two splits share one
    return render(_SURFACES[label], instance, SIZE, WORLD), label


@cache
def _vessels() -> np.ndarray:
    """How much darker than its surroundings the retina is, in the green channel, where vessels show: (H, W) float32."""
    green = _photograph('retina')[..., 1].astype(np.float32)
    return grey_closing(green, 21) - green


@cache
def _stain() -> np.ndarray:
    """How much of the brown stain (DAB) there is in each pixel of the tissue: (H, W) float32.

    Ruifrok and Johnston 2001, Quantification of histochemical staining by color deconvolution.
    """
    with extra('scikit-image'):
        from skimage.color import rgb2hed
    return rgb2hed(_photograph('immunohistochemistry'))[..., 2].astype(np.float32)


def _measured(rng: Generator, name: str, measure: np.ndarray, split: str) -> tuple[np.ndarray, float]:
    """A patch of a photograph, and the mean of a measure over its pixels."""
    photograph = _photograph(name)
    for _ in range(100):
        left, top, right, bottom = draw_box(rng, photograph.shape[0], photograph.shape[1], split)
        crop = photograph[top:bottom, left:right]
        if np.quantile(crop.mean(-1), 0.02) > 40:  # otherwise it reaches out of the round picture of the eye
            break
    image = Image.fromarray(crop).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32), float(measure[top:bottom, left:right].mean())


@cache
def _quartiles(name: str) -> np.ndarray:
    """(3,), of what is measured in the training parts of a photograph."""
    measure, rng = _MEASURES[name](), default_rng(0)
    return np.quantile([_measured(rng, name, measure, 'train')[1] for _ in range(800)], (0.25, 0.5, 0.75))


_MEASURES = dict(retina=_vessels, immunohistochemistry=_stain)


def _quarter(name: str, measured: float) -> int:
    return int(np.searchsorted(_quartiles(name), measured))


def _retina(rng: Generator, split: str, i: int) -> tuple[np.ndarray, int]:
    """How much vessel is there, in quarters? The green channel, at a contrast that is enhanced by about the same."""
    patch, measured = _measured(rng, 'retina', _vessels(), split)
    green = (patch[..., 1] - patch[..., 1].mean()) * 5 * 1.25 ** rng.uniform(-1, 1) + rng.uniform(90, 165)
    return np.repeat(green.round().clip(0, 255).astype(np.uint8)[..., None], 3, -1), _quarter('retina', measured)


def _tissue(rng: Generator, split: str, i: int) -> tuple[np.ndarray, int]:
    """How much stain is there, in quarters?"""
    patch, measured = _measured(rng, 'immunohistochemistry', _stain(), split)
    return _relit(rng, patch), _quarter('immunohistochemistry', measured)


# -------------------------------------------------------------------------------------------------- structured


def _figure(rng: Generator, centre: np.ndarray, radius: float, kinds: Sequence[int] = (3, 4, 5, 16)) -> np.ndarray:
    """Some polygon, of one of these numbers of corners: (corners, 2) in pixels."""
    corners = rng.choice(kinds)
    angles = np.arange(corners) * 2 * pi / corners + rng.uniform(0, 2 * pi)
    return np.stack([np.cos(angles), np.sin(angles)], -1) * radius + centre


def _dressed(rng: Generator, figures: Sequence[np.ndarray]) -> np.ndarray:
    return dress(ink(SIZE, areas=figures), rng, 1 / 2)


def _count(rng: Generator, split: str, i: int) -> tuple[np.ndarray, int]:
    """How many figures are there, from one to eight? They do not touch, and their size says little."""
    label, radius = i % 8, rng.uniform(3, 6)
    centres: list[np.ndarray] = []
    while len(centres) <= label:
        centre = rng.uniform(7, SIZE - 7, 2)
        if all(np.hypot(*(centre - other)) > 2 * radius + 3 for other in centres):
            centres.append(centre)
    return _dressed(rng, [_figure(rng, centre, radius) for centre in centres]), label


def _distance(rng: Generator, split: str, i: int) -> tuple[np.ndarray, int]:
    """How far apart are the two figures? In six steps of 6 pixels, from 12 on."""
    label = i % 6
    while True:
        apart, angle = 12 + 6 * (label + rng.random()), rng.uniform(0, 2 * pi)
        one = rng.uniform(6, SIZE - 6, 2)
        other = one + apart * np.array([cos(angle), sin(angle)])
        if (other > 6).all() and (other < SIZE - 6).all():
            return _dressed(rng, [_figure(rng, centre, rng.uniform(3, 5)) for centre in (one, other)]), label


def _orientation(rng: Generator, split: str, i: int) -> tuple[np.ndarray, int]:
    """Which way does the arrowhead point? In eight steps of 45 degrees, each give or take 20."""
    label = i % 8
    angle = (label + rng.uniform(-20, 20) / 45) * pi / 4
    turn = np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])
    length, width = rng.uniform(12, 20), rng.uniform(0.35, 0.6)
    arrow = np.array([[1, 0], [-1, width], [-0.6, 0], [-1, -width]]) * length
    return _dressed(rng, [arrow @ turn.T + rng.uniform(22, SIZE - 22, 2)]), label


def _location(rng: Generator, split: str, i: int) -> tuple[np.ndarray, int]:
    """How far to the right is the triangle, in eight steps of 6 pixels? There are two discs elsewhere."""
    label, radius = i % 8, rng.uniform(4, 7)
    centres = [np.array([8 + 6 * (label + rng.random()), rng.uniform(8, SIZE - 8)])]
    while len(centres) < 3:
        centre = rng.uniform(8, SIZE - 8, 2)
        if all(np.hypot(*(centre - other)) > 2 * radius for other in centres):
            centres.append(centre)
    kinds = (3,), (16,), (16,)
    return _dressed(rng, [_figure(rng, centres[k], radius, kinds[k]) for k in range(3)]), label


# --------------------------------------------------------------------------------------------------- the table


class MiniTask(NamedTuple):
    """A row of the table.

    Attributes:
        group: of VTAB-1k: 'Natural', 'Specialized' or 'Structured'.
        classes: how many.
        draw: what makes an image and its label.
        sizes: images in train, val and test.
    """

    group: str
    classes: int
    draw: Draw
    sizes: tuple[int, int, int] = (200, 100, 500)

    @property
    def suite(self) -> str:
        """``'mini'``"""
        return 'mini'


MINI_VTAB = {
    'mini_digits': MiniTask('Natural', 10, _digits),
    'mini_photos': MiniTask('Natural', len(PHOTOGRAPHS), _photos),
    'mini_objects': MiniTask('Natural', len(_OBJECTS), _objects),
    'mini_surfaces': MiniTask('Specialized', len(_SURFACES), _surfaces),
    'mini_retina': MiniTask('Specialized', 4, _retina),
    'mini_tissue': MiniTask('Specialized', 4, _tissue),
    'mini_count': MiniTask('Structured', 8, _count),
    'mini_distance': MiniTask('Structured', 6, _distance),
    'mini_orientation': MiniTask('Structured', 8, _orientation),
    'mini_location': MiniTask('Structured', 8, _location),
}


@cache
def _draw_all(task: str, split: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 64, 64, 3) and labels (n,) of a split; a grid of runs in one process draws them once."""
    number, place = MINI_VTAB[task].sizes[SPLITS.index(split)], list(MINI_VTAB).index(task)
    drawn = [MINI_VTAB[task].draw(default_rng([seed, place, SPLITS.index(split), i]), split, i) for i in range(number)]
    return np.stack([image for image, _ in drawn]), np.array([label for _, label in drawn])


@DATASETS.register_module()
class MiniVTAB(ArrayDataset):
    """A task of Mini-VTAB, images of 64 by 64 pixels.

    Source: the groups of tasks are those of Zhai et al. (VTAB), 2019, https://arxiv.org/abs/1910.04867.

    Args:
        task: a name in ``MINI_VTAB``.
        split: 'train' (200 images), 'val' (100), 'trainval' (300), 'test' (500).
        subset: as of ``ImageList``: some of the images of the split; None for all.
        seed: of all that is drawn at random.
        kwargs: of mmpretrain's BaseDataset.
    """

    def __init__(
        self, task: str, split: str = 'train', subset: Subset | dict | None = None, seed: int = 0, **kwargs
    ) -> None:
        if task not in MINI_VTAB:
            raise ValueError(f"there is no task '{task}'. There are: {', '.join(MINI_VTAB)}")
        self.task, self.split, self.seed = task, check_split(split, (*SPLITS, 'trainval')), seed
        self.subset = Subset(**subset) if isinstance(subset, dict) else subset
        if not kwargs.keys() & {'metainfo', 'classes'}:
            kwargs['classes'] = [str(label) for label in range(MINI_VTAB[task].classes)]
        super().__init__(**kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        splits = ('train', 'val') if self.split == 'trainval' else (self.split,)
        parts = [_draw_all(self.task, split, self.seed) for split in splits]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if self.subset:
            chosen = self.subset.choose([(f'{self.split}_{i}', int(label)) for i, label in enumerate(labels)])
            images, labels = images[chosen], labels[chosen]
        return images, labels
