"""Scenes to segment: things that formulas draw, on ground that was photographed, every pixel of a known class.

Ground: regions of six photographs inside scikit-image's wheel, each its upper three fifths for training and of the
rest, 8 pixels further down, the left half for validation and the right half for testing, so that no pixel is in two
splits. Things: closed contours filled with the pictures of six formula-driven categories (``formula.py``) of a world
that no mini backbone was trained on. Colour, brightness and contrast are drawn at random for ground and things
alike: what distinguishes the classes is texture.
"""

from functools import cache
from importlib.resources import files
from math import pi
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image, ImageDraw

from vptx.datasets.arrays import check_split, extra

from .formula import render

__all__ = ['CLASSES', 'PALETTE', 'SPLITS', 'compose', 'write']

# Class -> photograph, read by name, because functions of skimage.data may try to download.
GROUND = dict(
    brick='brick.png',
    grass='grass.png',
    gravel='gravel.png',
    moon='moon.png',
    tissue='ihc.png',
    stars='hubble_deep_field.jpg',
)
# Class -> category of the formula world SEED.
THINGS = dict(bands=4, clouds=6, dots=7, cobbles=12, mesh=14, asterisks=15)
SEED = 7
CLASSES = (*GROUND, *THINGS)
PALETTE = [
    [178, 76, 56], [98, 160, 62], [140, 130, 120], [90, 90, 160], [214, 128, 178], [24, 32, 92],
    [240, 200, 40], [120, 220, 240], [250, 120, 20], [0, 130, 130], [170, 60, 220], [240, 240, 240],
]  # fmt: skip
SPLITS = dict(train='training', val='validation', test='testing')
SHARE, GAP = 0.6, 8  # of a photograph's rows for training; rows, and columns, between the splits
FINE = 4  # contours are drawn this many times finer


@cache
def photograph(name: str, split: str) -> np.ndarray:
    """The part of a photograph that belongs to a split, grey: (H, W) float32, mean 0, standard deviation 1."""
    with extra('scikit-image'), (files('skimage') / 'data' / GROUND[name]).open('rb') as file:
        pixels = region(np.asarray(Image.open(file).convert('L'), np.float32), split)
    return (pixels - pixels.mean()) / pixels.std()


def region(pixels: np.ndarray, split: str) -> np.ndarray:
    """The region of a photograph (H, W) that belongs to a split."""
    border, middle = round(SHARE * len(pixels)), pixels.shape[1] // 2
    if split == 'train':
        return pixels[:border]
    below = pixels[border + GAP :]
    return below[:, : middle - GAP // 2] if split == 'val' else below[:, middle + GAP // 2 :]


def compose(split: str, index: int, size: int = 128, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scene ``index`` -> an RGB image (size, size, 3) and its mask (size, size), both uint8; the arguments say all.

    In the mask, as in ADE20K's files, 1 is the first class; 0, no class, does not occur.
    """
    check_split(split, tuple(SPLITS))
    number = list(SPLITS).index(split)
    rng = default_rng([seed, number, index])
    image, mask = np.empty((size, size, 3), np.float32), np.empty((size, size), np.uint8)
    names = list(GROUND)
    for area in _areas(rng, size):
        name = names[rng.integers(len(names))]
        image[area] = _ground(rng, photograph(name, split), size)[area]
        mask[area] = CLASSES.index(name) + 1
    for _ in range(rng.integers(2, 5)):
        name = list(THINGS)[rng.integers(len(THINGS))]
        side = int(size * rng.uniform(0.25, 0.5))
        top, left = rng.integers(-side // 4, size - 3 * side // 4, 2)
        instance = len(SPLITS) * int(rng.integers(1 << 20)) + number  # no two splits share one
        picture = render(THINGS[name], instance, side, SEED).astype(np.float32)
        inside = _contour(rng, side)
        rows, columns = (slice(max(start, 0), min(start + side, size)) for start in (top, left))
        part = tuple(slice(place.start - start, place.stop - start) for place, start in ((rows, top), (columns, left)))
        image[rows, columns][inside[part]] = picture[part][inside[part]]
        mask[rows, columns][inside[part]] = CLASSES.index(name) + 1
    image += rng.exponential(3) * rng.standard_normal((size, size, 1), np.float32)
    return image.round().clip(0, 255).astype(np.uint8), mask


def _areas(rng: Generator, size: int) -> list[np.ndarray]:
    """One to three boolean maps (size, size) that share the image out, along a wavy line or two."""
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    areas = [np.ones((size, size), bool)]
    for _ in range(rng.integers(0, 3)):
        angle, wave, phase = rng.uniform(0, 2 * pi), rng.uniform(1, 3), rng.uniform(0, 2 * pi)
        along, across = (np.cos(angle + turn) * columns + np.sin(angle + turn) * rows for turn in (0, pi / 2))
        side = across + 0.06 * np.sin(2 * pi * wave * along + phase) > rng.uniform(-0.2, 0.2)
        areas = [areas[0] & side, areas[0] & ~side, *areas[1:]]
    return areas


def _ground(rng: Generator, pixels: np.ndarray, size: int) -> np.ndarray:
    """A piece of a photograph, enlarged, mirrored and tinted at random: (size, size, 3) float32."""
    side = int(min(size, *pixels.shape) * rng.uniform(0.7, 1))
    top, left = (rng.integers(length - side, endpoint=True) for length in pixels.shape)
    crop = Image.fromarray(pixels[top : top + side, left : left + side]).resize((size, size), Image.Resampling.BICUBIC)
    piece = np.asarray(crop)[:, :: rng.choice((-1, 1))]
    tint = rng.uniform(70, 185) + rng.normal(0, 14, 3)
    return piece[..., None] * rng.uniform(18, 50) + tint.astype(np.float32)


def _contour(rng: Generator, side: int) -> np.ndarray:
    """A closed curve r(t) = 1 + sum_k a_k cos(k t + p_k): which pixels (side, side) have their middle inside."""
    angles = np.linspace(0, 2 * pi, 90, endpoint=False)
    waves = np.arange(1, 6)[:, None]
    radii = 1 + (rng.normal(0, 0.2, (5, 1)) / waves * np.cos(waves * angles + rng.uniform(0, 2 * pi, (5, 1)))).sum(0)
    radii = radii.clip(0.3) / radii.max()
    points = (1 + radii * (np.cos(angles), np.sin(angles))).T * side * FINE / 2
    canvas = Image.new('L', (side * FINE, side * FINE))
    ImageDraw.Draw(canvas).polygon(points.ravel().tolist(), fill=255)
    return np.asarray(canvas.reduce(FINE)) >= 128


def write(folder: Path, train: int, val: int, test: int, size: int = 128, seed: int = 0) -> None:
    """Write scenes in ADE20K's layout: ``images/training/ADE_train_00000001.jpg``, ``annotations/training/....png``."""
    for split, number in (('train', train), ('val', val), ('test', test)):
        images, masks = (folder / kind / SPLITS[split] for kind in ('images', 'annotations'))
        for place in (images, masks):
            place.mkdir(parents=True, exist_ok=True)
        for index in range(number):
            image, mask = compose(split, index, size, seed)
            name = f'ADE_{split}_{index + 1:08}'
            Image.fromarray(image).save(images / f'{name}.jpg', quality=95)
            Image.fromarray(mask).save(masks / f'{name}.png')
