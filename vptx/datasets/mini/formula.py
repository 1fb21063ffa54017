"""Artificial images: categories drawn by formulas, to pre-train small networks on.

Kataoka et al. 2020, Pre-training without Natural Images, https://arxiv.org/abs/2101.08515
Kataoka et al. 2022, Replacing Labeled Real-image Datasets with Auto-generated Contours,
https://arxiv.org/abs/2206.09132

A category is one draw of a formula's parameters, an instance is a small jitter of them under a new pose and a
new dress (colours, background, blur, noise):

    image = background + alpha * (foreground - background),   alpha = family(category)(instance) in [0, 1]

So shape and texture tell the categories apart; colour, place, size and light do not. There are six families:
fractals and contours are the papers'; glyphs resemble handwriting; gratings, spectral textures and scattered
figures resemble surfaces. Glyphs and gratings differ by direction: do not mirror or turn the images.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from math import cos, pi, sin
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from mmengine import dist
from numpy.random import Generator, default_rng
from PIL import Image, ImageDraw
from scipy.fft import irfft2

from vptx.cache import cache_folder
from vptx.datasets.arrays import ArrayDataset, check_split
from vptx.registry import DATASETS

# Raise it with any change to the pixels that `render` makes: caches are keyed by it.
VERSION = 1

# Categories deal the families in turn, so the first n of them are as mixed as all of them.
CYCLE = ('glyph', 'fractal', 'glyph', 'contour', 'grating', 'glyph', 'texture', 'scatter')
NUM_CATEGORIES = 240

# Multiples of them, modulo 1, are spread evenly however many are taken; of both together, over a square.
_GOLDEN, _PLASTIC = 0.6180339887, 0.7548776662
_FINE = 2  # strokes are drawn this many times finer, then averaged down


# ------------------------------------------------------------------------------------------------ one picture


def render(category: int, instance: int, size: int = 64, seed: int = 0) -> np.ndarray:
    """(category, instance) -> an RGB image (size, size, 3), uint8, wholly determined by the arguments.

    Args:
        category: 0 <= category < NUM_CATEGORIES.
        instance: any number >= 0.
        size: pixels of a side.
        seed: another seed is another world: other categories of the same families.
    """
    if not 0 <= category < NUM_CATEGORIES:
        raise ValueError(f'category must be in 0..{NUM_CATEGORIES - 1}, got {category}')
    if size < 8:
        raise ValueError(f'size must be at least 8 pixels, got {size}')
    rng = default_rng([1, seed, category, instance])
    draw = drawer(category, seed)
    return dress(draw(rng, size), rng, draw.coarsest)


def family(category: int) -> str:
    """The name of the family that draws this category: an entry of CYCLE."""
    return CYCLE[category % len(CYCLE)]


@lru_cache(maxsize=1024)
def drawer(category: int, seed: int) -> 'Family':
    """The category's parameters, in an object that draws its instances."""
    turn, slot = divmod(category, len(CYCLE))
    index = turn * CYCLE.count(CYCLE[slot]) + CYCLE[:slot].count(CYCLE[slot])
    # The leading 0 (1 for instances) keeps the two streams apart: SeedSequence pads with zeros, so that
    # [seed, category] and [seed, category, 0] would be the same stream.
    return _FAMILIES[CYCLE[slot]](default_rng([0, seed, category]), index)


# ---------------------------------------------------------------------------------------------------- helpers


def _turn(angle: float) -> np.ndarray:
    return np.array([[cos(angle), -sin(angle)], [sin(angle), cos(angle)]])


def _pose(
    rng: Generator, size: int, turn: float, shear: float = 0.15, reach: tuple[float, float] = (0.55, 0.95)
) -> tuple[np.ndarray, np.ndarray]:
    """-> matrix (2, 2) and shift (2,) in pixels: they carry a figure of radius one into the image."""
    radius = rng.uniform(*reach) * size / 2
    angle, lean = rng.uniform(-1, 1, 2) * (turn, shear)
    squeeze = rng.uniform(0.8, 1)
    matrix = radius * _turn(angle) @ np.array([[squeeze, lean], [0, 1]])
    return matrix, size / 2 + rng.uniform(-1.1, 1.1, 2) * (size / 2 - radius)


def ink(size: int, lines: Sequence = (), width: float = 1, closed: bool = False, areas: Sequence = ()) -> np.ndarray:
    """Polylines and filled polygons, each (n, 2) in pixels -> their coverage (size, size) in [0, 1]."""
    canvas = Image.new('L', (size * _FINE, size * _FINE))
    pen = ImageDraw.Draw(canvas)
    for area in areas:
        pen.polygon((area * _FINE).ravel().tolist(), fill=255)
    width = max(1, round(width * _FINE))
    radius = width / 2 - 0.5
    for line in lines:
        line = np.concatenate([line, line[:1]]) if closed else line
        points = (line * _FINE).ravel().tolist()
        pen.line(points, fill=255, width=width)
        if width > 3:  # round ends and joints, where one could see them
            for x, y in zip(points[::2], points[1::2], strict=True):
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    return np.asarray(canvas.reduce(_FINE), np.float32) / 255


def _cloud(rng: Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise (size, size) in [0, 1] with about `cells` bumps a side; 2 cells make a gradient."""
    grid = Image.fromarray(rng.random((cells, cells), np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC)).clip(0, 1)


def dress(alpha: np.ndarray, rng: Generator, coarsest: float) -> np.ndarray:
    """alpha (size, size) -> an RGB image: two-tone colours, dark on light or the reverse, blur, noise."""
    size = len(alpha)
    if rng.random() < 0.3:  # seen from afar: a few pixels enlarged, as small scans are
        few = int(size * rng.uniform(coarsest, 0.7))
        small = Image.fromarray(alpha).resize((few, few), Image.Resampling.BOX)
        alpha = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC)).clip(0, 1)

    dark = rng.uniform(0, 0.55)
    light = rng.uniform(dark + 0.3, 1)
    tones = np.array([dark, dark, light, light])[:, None] + rng.normal(0, 0.07, (4, 1))
    chroma = 0 if rng.random() < 0.3 else rng.uniform(0, 0.45)
    colours = tones + chroma * rng.uniform(-1, 1, (4, 3))
    if rng.random() < 0.5:
        colours = colours[::-1]
    back, back_end, fore, fore_end = colours.astype(np.float32)

    ground, figure = back, fore
    if rng.random() < 0.65:
        cells = int(rng.choice((2, 2, 3, 5, 9, 17)))
        ground = back + _cloud(rng, size, cells)[..., None] * (back_end - back)
    if rng.random() < 0.35:
        figure = fore + _cloud(rng, size, 2)[..., None] * (fore_end - fore)
    image = ground + alpha[..., None] * (figure - ground)

    grain = rng.exponential(0.022)
    image += grain * rng.standard_normal((size, size, 1), np.float32)
    return (image * 255).clip(0, 255).astype(np.uint8)


# --------------------------------------------------------------------------------------------------- families


class Family:
    """One category of a family of drawings.

    Args:
        rng: of the category; draws all that its instances share.
        index: of the category within the family, from 0.

    Attributes:
        coarsest: the share of an image's resolution that still distinguishes the family's categories.
    """

    coarsest: float  # the share of an image's resolution that still distinguishes the family's categories

    def __init__(self, rng: Generator, index: int) -> None:
        raise NotImplementedError

    def __call__(self, rng: Generator, size: int) -> np.ndarray:
        """One instance, drawn with its rng -> alpha (size, size), float32 in [0, 1]."""
        raise NotImplementedError


class Fractal(Family):
    """The attractor of 2 to 5 contractions x -> A x + b, drawn by the chaos game.

    Source: Kataoka et al., 2020, https://arxiv.org/abs/2101.08515.

    Args:
        rng, index: of ``Family``.
    """

    coarsest = 1 / 4

    def __init__(self, rng: Generator, index: int) -> None:
        # Many draws are dust or a blot: keep the first that covers a middling part of its box.
        for _ in range(1000):
            count = rng.integers(2, 6)
            stretch = rng.uniform(0.35, 0.85, (count, 1)) * (1, 1)
            stretch[:, 1] *= rng.uniform(0.2, 1, count) * rng.choice((-1, 1), count)  # some maps mirror
            left, right = (np.stack([_turn(a) for a in rng.uniform(-pi, pi, count)]) for _ in range(2))
            self.matrices = left * stretch[:, None] @ right  # singular values at most 0.85: all contract
            self.shifts = rng.uniform(-1, 1, (count, 2))
            area = np.abs(np.prod(stretch, 1)) + 0.02
            self.odds = np.cumsum(area / area.sum())
            self.cloud = self._play(rng, np.zeros((2, 2048)), self.matrices, rounds=40, keep=1)
            covered = np.unique(self._pixels(self._fit(self.cloud) * 16 + 16, 32)).size / 32**2
            if 0.2 < covered < 0.6:
                return
        raise RuntimeError('none of 1000 random fractals covers a middling part of its box')

    def __call__(self, rng: Generator, size: int) -> np.ndarray:
        # Turning and scaling by at most 1.08 keeps every map a contraction (0.85 * 1.08 < 1).
        count = len(self.matrices)
        turns = np.stack([_turn(a) for a in rng.uniform(-0.12, 0.12, count)])
        matrices = turns @ self.matrices * rng.uniform(0.92, 1.08, (count, 1, 1))
        # Players start on the unjittered attractor, so a few rounds bring them to the jittered one.
        players = np.resize(self.cloud.T, (int(1200 * (size / 64) ** 2), 2)).T
        points = self._fit(self._play(rng, players, matrices, rounds=8, keep=4))
        matrix, shift = _pose(rng, size, turn=0.5, reach=(0.7, 1.05))
        hits = np.bincount(self._pixels(matrix @ points + shift[:, None], size), minlength=size * size)
        return 1 - np.exp(-rng.uniform(0.4, 1.6) * hits.astype(np.float32)).reshape(size, size)

    def _play(self, rng: Generator, players: np.ndarray, matrices: np.ndarray, rounds: int, keep: int) -> np.ndarray:
        """Players (2, n), all at once -> the points (2, keep * n) that they visit in the last rounds."""
        x, y = players
        chosen = np.searchsorted(self.odds, rng.random((rounds, x.size))).clip(max=len(matrices) - 1)
        (a, b), (c, d) = matrices.transpose(1, 2, 0)
        e, f = self.shifts.T
        trail = []
        for i in chosen:
            x, y = a[i] * x + b[i] * y + e[i], c[i] * x + d[i] * y + f[i]
            trail.append((x, y))
        return np.concatenate(trail[-keep:], 1)

    @staticmethod
    def _fit(points: np.ndarray) -> np.ndarray:
        """Centre them and scale them to a box of half-side one."""
        low, high = points.min(1, keepdims=True), points.max(1, keepdims=True)
        return (points - (low + high) / 2) / max((high - low).max() / 2, 1e-6)

    @staticmethod
    def _pixels(points: np.ndarray, size: int) -> np.ndarray:
        """(2, n) in pixels -> flat indices of those inside."""
        x, y = np.floor(points).astype(np.int64)
        inside = (x >= 0) & (x < size) & (y >= 0) & (y < size)
        return (y * size + x)[inside]


class Contour(Family):
    """Nested closed curves r(t) = 1 + sum_k a_k cos(k t + p_k), of few or many corners.

    Source: Kataoka et al., 2022, https://arxiv.org/abs/2206.09132.

    Args:
        rng, index: of ``Family``.
    """

    coarsest = 1 / 4

    def __init__(self, rng: Generator, index: int) -> None:
        corners = int(3 * 14 ** rng.random())
        self.angles = np.arange(corners) * 2 * pi / corners
        waves = np.arange(1, 9)[:, None]
        self.heights = rng.normal(0, 0.33, (8, 1)) / waves ** rng.uniform(0, 1)
        self.waves = np.cos(waves * self.angles + rng.uniform(0, 2 * pi, (8, 1)))
        self.rings = int(1 + 9 * rng.random() ** 1.5)
        self.shrink = rng.uniform(0.6, 0.9)
        self.twist = rng.choice((0, 0, 1, -1)) * rng.uniform(0.1, 0.5)
        self.filled = index % 3 == 0

    def __call__(self, rng: Generator, size: int) -> np.ndarray:
        heights = self.heights * rng.uniform(0.75, 1.25, self.heights.shape)
        radii = (1 + (heights * self.waves).sum(0)).clip(0.15)
        radii /= radii.max()
        matrix, shift = _pose(rng, size, turn=pi)
        curves = []
        for ring in range(self.rings):
            angles = self.angles + ring * self.twist
            curves.append(self.shrink**ring * (radii * (np.cos(angles), np.sin(angles))).T @ matrix.T + shift)
        if not self.filled:
            return ink(size, curves, size / 64 * rng.uniform(0.8, 3), closed=True)
        # Every other ring is a hole, so that the rings of filled figures show too.
        alpha = np.zeros((size, size), np.float32)
        for ring, curve in enumerate(curves[:4]):
            alpha += (-1) ** ring * ink(size, areas=[curve])
        return alpha.clip(0, 1)


class Glyph(Family):
    """A written sign: one to four strokes (straight, bent, curved or round) on a grid of 3 by 4 places.

    Args:
        rng, index: of ``Family``.
    """

    coarsest = 1 / 8

    _T = np.linspace(0, 1, 12)[:, None]  # along a curve

    def __init__(self, rng: Generator, index: int) -> None:
        self.strokes = []  # (kind, path): a path holds the places of the pen, (2 to 4, 2)
        pen = self._place(rng)
        for _ in range(rng.choice((1, 2, 3, 4), p=(0.2, 0.4, 0.3, 0.1))):
            kind = rng.choice(('line', 'bent', 'curve', 'round'), p=(0.2, 0.2, 0.4, 0.2))
            if kind == 'round':  # part of an ellipse: centre, radii, (start, sweep)
                sweep = rng.uniform(-pi, pi), rng.uniform(1.2 * pi, 2.1 * pi)
                self.strokes.append((kind, np.stack([pen * 0.6, rng.uniform(0.25, 0.6, 2), sweep])))
                pen = self._place(rng)
                continue
            path = [pen]
            while len(path) < dict(line=2, bent=3, curve=4)[kind]:
                place = self._place(rng)
                if np.abs(place - path[-1]).sum() > 0.6 and np.abs(place - path[0]).sum() > 0:
                    path.append(place)
            self.strokes.append((kind, np.stack(path)))
            pen = path[-1] if rng.random() < 0.6 else self._place(rng)  # write on, or lift the pen
        points = np.concatenate([self._trace(*stroke) for stroke in self.strokes])
        low, high = points.min(0), points.max(0)
        self.centre, self.radius = (low + high) / 2, (high - low).max() / 2

    @staticmethod
    def _place(rng: Generator) -> np.ndarray:
        return np.array([rng.integers(-1, 2) * 0.65, rng.integers(0, 4) * 0.6 - 0.9])

    def _trace(self, kind: str, path: np.ndarray) -> np.ndarray:
        """-> the polyline (n, 2) of a stroke."""
        t, s = self._T, 1 - self._T
        if kind == 'round':
            centre, radii, (start, sweep) = path
            return centre + radii * np.concatenate([np.cos(start + sweep * t), np.sin(start + sweep * t)], 1)
        if kind == 'curve':  # cubic Bezier
            return np.concatenate([s**3, 3 * s * s * t, 3 * s * t * t, t**3], 1) @ path
        return path

    def __call__(self, rng: Generator, size: int) -> np.ndarray:
        matrix, shift = _pose(rng, size, turn=0.35, shear=0.3, reach=(0.5, 1))
        matrix = matrix / self.radius
        lines = []
        for kind, path in self.strokes:
            line = self._trace(kind, path + rng.normal(0, 0.06 * self.radius, path.shape))
            lines.append((line - self.centre) @ matrix.T + shift)
        return ink(size, lines, size / 64 * (1.5 + 6 * rng.random() ** 1.3))


class Grating(Family):
    """Waves: straight, plaid, hexagonal, circular or spiral, of a frequency, a direction and a profile.

    Args:
        rng, index: of ``Family``.
    """

    coarsest = 1 / 2

    _KINDS = ('straight', 'plaid', 'straight', 'hexagon', 'circle', 'spiral')

    def __init__(self, rng: Generator, index: int) -> None:
        self.kind = self._KINDS[index % len(self._KINDS)]
        turn = index // len(self._KINDS)
        self.angle = pi * (turn * _GOLDEN + 0.5 * (index % len(self._KINDS) == 2) + rng.uniform(0, 0.1))
        self.cycles = 2.5 * 5.5 ** ((turn * 0.4 + index * 0.07) % 1)  # per image side
        self.profile = (1.5, 8)[(turn + index) % 2]  # soft or hard edges
        self.duty = rng.uniform(-0.4, 0.4)
        self.arms = int(rng.integers(1, 6))

    def __call__(self, rng: Generator, size: int) -> np.ndarray:
        cycles = self.cycles * rng.uniform(0.88, 1.12)
        angle = self.angle + rng.uniform(-0.1, 0.1)
        x = np.linspace(-1, 1, size, dtype=np.float32)
        x, y = x[None], x[:, None]
        if self.kind in ('circle', 'spiral'):
            x, y = x - np.float32(rng.uniform(-0.7, 0.7)), y - np.float32(rng.uniform(-0.7, 0.7))
            phase = pi * cycles * np.sqrt(x * x + y * y) + np.float32(rng.uniform(0, 2 * pi))
            wave = np.sin(phase + self.arms * np.arctan2(y, x) if self.kind == 'spiral' else phase)
        else:
            bends = np.float32(rng.normal(0, 0.15)) * (x * x - y * y)  # a slightly bent sheet
            turns = dict(straight=(0,), plaid=(0, pi / 2), hexagon=(0, pi / 3, 2 * pi / 3))[self.kind]
            wave = 0
            for turn in turns:
                u = np.float32(cos(angle + turn)) * x + np.float32(sin(angle + turn)) * y
                wave = wave + np.sin(pi * cycles * (u + bends) + np.float32(rng.uniform(0, 2 * pi)))
            wave = wave / len(turns) ** 0.5
        return 0.5 + 0.5 * np.tanh(np.float32(self.profile) * (wave - np.float32(self.duty)))


class Texture(Family):
    """Gaussian noise of a category's own spectrum (band, slope, direction), raw, as ridges or as blots.

    Args:
        rng, index: of ``Family``.
    """

    coarsest = 1 / 2

    def __init__(self, rng: Generator, index: int) -> None:
        self.finish = ('raw', 'ridge', 'blot')[index % 3]
        self.centre = 2.5 * 7 ** ((index * _GOLDEN) % 1)  # cycles per image side
        self.spread = rng.uniform(0.2, 0.9)  # of the band, in powers of e
        self.angle = pi * ((index * _PLASTIC) % 1)
        self.stretch = (1, 1.7, 4)[(index // 3) % 3]
        self.level = rng.uniform(-0.6, 0.6)

    def __call__(self, rng: Generator, size: int) -> np.ndarray:
        angle = self.angle + rng.uniform(-0.12, 0.12)
        fy, fx = np.fft.fftfreq(size, 1 / size)[:, None], np.arange(size // 2 + 1)[None]
        along = (cos(angle) * fx + sin(angle) * fy) * self.stretch
        across = cos(angle) * fy - sin(angle) * fx
        radius = np.sqrt(along * along + across * across).astype(np.float32) + np.float32(1e-3)
        centre, spread = self.centre * rng.uniform(0.9, 1.1), self.spread * rng.uniform(0.9, 1.1)
        # radius^-1/2 keeps a broad band from being all fine grain, which two dimensions have more of.
        gain = np.exp(-((np.log(radius / np.float32(centre)) / np.float32(spread)) ** 2) / 2) / np.sqrt(radius)
        noise = rng.standard_normal((2, size, size // 2 + 1), np.float32)
        field = irfft2(gain * (noise[0] + 1j * noise[1]), (size, size))
        field *= 1 / max(field.std(), 1e-6)
        if self.finish == 'ridge':
            return np.exp(-2 * np.abs(field - self.level))
        return 0.5 + 0.5 * np.tanh((0.7 if self.finish == 'raw' else 5) * (field - self.level))


class Scatter(Family):
    """Copies of one small figure (polygon, star or bar), strewn or in rows, turned alike or at will.

    Args:
        rng, index: of ``Family``.
    """

    coarsest = 1 / 3

    def __init__(self, rng: Generator, index: int) -> None:
        kind = ('polygon', 'star', 'bar')[index % 3]
        corners = 2 * rng.integers(3, 7) if kind == 'star' else rng.choice((3, 4, 6, 16))
        angles = np.arange(corners) * 2 * pi / corners
        radii = np.where(np.arange(corners) % 2, rng.uniform(0.25, 0.5), 1) if kind == 'star' else 1
        self.figure = radii * np.stack([np.cos(angles), np.sin(angles)])  # (2, corners)
        if kind == 'bar':
            self.figure = np.array([[-1, -1, 1, 1], [-1, 1, 1, -1]]) * [[1], [rng.uniform(0.12, 0.35)]]
        self.outline = kind != 'bar' and index // 3 % 2 == 1
        self.rows = index // 6 % 2 == 1
        self.spin = 0.12 if rng.random() < 0.6 else pi
        self.angle = pi * (index * _PLASTIC % 1)
        self.count = 6 * 8 ** (index * _GOLDEN % 1)
        self.scale = rng.uniform(0.5, 0.9)

    def __call__(self, rng: Generator, size: int) -> np.ndarray:
        count = int(self.count * rng.uniform(0.8, 1.2))
        if self.rows:
            side = round(count**0.5) + 1
            grid = np.stack(np.divmod(np.arange(side * side), side), 1) + rng.uniform(0, 1, 2)
            grid = (grid + rng.normal(0, 0.04, grid.shape)) / side - 0.5
            centres = size * (0.5 + 1.3 * grid @ _turn(self.angle + rng.uniform(-0.1, 0.1)))
        else:
            centres = rng.uniform(0, size, (count, 2))
        count = len(centres)
        angles = self.angle + rng.uniform(-self.spin, self.spin, (count, 1))
        radii = self.scale * size / 2 / count**0.5 * rng.uniform(0.75, 1.25, (count, 1))
        c, s = radii * np.cos(angles), radii * np.sin(angles)
        x, y = self.figure
        figures = np.stack([c * x - s * y, s * x + c * y], -1) + centres[:, None]  # (count, corners, 2)
        if self.outline:
            return ink(size, figures, size / 64 * rng.uniform(0.8, 1.6), closed=True)
        return ink(size, areas=figures)


_FAMILIES: dict[str, type[Family]] = dict(
    glyph=Glyph, fractal=Fractal, contour=Contour, grating=Grating, texture=Texture, scatter=Scatter
)


# --------------------------------------------------------------------------------------------------- data set


@DATASETS.register_module()
class FormulaImages(ArrayDataset):
    """`instances` pictures of each of `num_categories` categories, rendered once and mapped from a file.

    Row i shows category i % num_categories, so any leading part of the data set is balanced. The two splits
    use disjoint instance numbers.

    Source: Kataoka et al., 2020, https://arxiv.org/abs/2101.08515, and 2022, https://arxiv.org/abs/2206.09132.

    Args:
        num_categories: at most NUM_CATEGORIES; the first n are as mixed as all.
        instances: pictures per category, of this split.
        split: 'train' or 'val'.
        seed: another seed is another world of categories.
        size: pixels of a side.
        cache_dir: where the .npy file lies; one file per set of arguments, size * size * 3 bytes per picture.
            By default that of ``vptx.cache.cache_folder``.
        workers: processes that render; by default as many as there are processors to use.
        kwargs: of mmpretrain's BaseDataset.
    """

    # Validation instances are numbered from here, where no training set reaches.
    FIRST = dict(train=0, val=2**30)

    def __init__(
        self,
        num_categories: int = NUM_CATEGORIES,
        instances: int = 400,
        split: str = 'train',
        seed: int = 0,
        size: int = 64,
        cache_dir: str | os.PathLike | None = None,
        workers: int | None = None,
        **kwargs,
    ):
        self.split = check_split(split, tuple(self.FIRST))
        if not 0 < num_categories <= NUM_CATEGORIES:
            raise ValueError(f'num_categories must be in 1..{NUM_CATEGORIES}, got {num_categories}')
        if not 0 < instances <= self.FIRST['val']:
            raise ValueError(f'FormulaImages is empty or too large: instances={instances}')
        self.num_categories, self.instances, self.seed, self.size = num_categories, instances, seed, size
        if cache_dir is None:
            cache_dir = cache_folder()
        self.cache_dir, self.workers = Path(cache_dir).expanduser(), workers
        super().__init__(**kwargs)
        self._metainfo.setdefault('classes', tuple(f'{family(c)}_{c:03d}' for c in range(num_categories)))

    @property
    def cache_file(self) -> Path:
        """Its name holds everything that the pixels depend on."""
        return self.cache_dir / (
            f'formula_v{VERSION}_seed{self.seed}_{self.split}_{self.num_categories}x{self.instances}_{self.size}px.npy'
        )

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        # The main process renders while the others wait. Those that then find no file, because their machine
        # shares no disk with it, render for themselves: to the same bytes, so that none is in another's way.
        try:
            if dist.is_main_process():
                self._render_all()
        finally:
            dist.barrier()
        self._render_all()
        return self._open(), np.tile(np.arange(self.num_categories), self.instances)

    def _open(self) -> np.ndarray:
        try:
            images = np.load(self.cache_file, mmap_mode='r', allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f'{self.cache_file} is broken: remove it') from error
        if images.shape != self._shape or images.dtype != np.uint8:
            raise ValueError(
                f'{self.cache_file} should hold uint8 {self._shape}, not {images.dtype} {images.shape}: remove it'
            )
        return images

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.num_categories * self.instances, self.size, self.size, 3

    def _render_all(self) -> None:
        """Unless the cache is there: into a temporary file, which takes its name only when it is complete."""
        if self.cache_file.exists():
            return
        self.cache_dir.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self.cache_dir, prefix=self.cache_file.stem, suffix='.part')
        os.close(handle)
        try:
            np.lib.format.open_memmap(temporary, 'w+', np.uint8, self._shape).flush()
            total, step = self._shape[0], 1024
            jobs = [
                (
                    temporary,
                    start,
                    min(start + step, total),
                    self.num_categories,
                    self.FIRST[self.split],
                    self.size,
                    self.seed,
                )
                for start in range(0, total, step)
            ]
            workers = min(self.workers or _processors(), len(jobs))
            if workers <= 1:
                for job in jobs:
                    _render_rows(*job)
            else:
                # Forking spares the workers the import of torch, and they only touch numpy and PIL. Elsewhere
                # than on Linux a fork is not safe.
                context = get_context('fork' if sys.platform == 'linux' else 'spawn')
                with ProcessPoolExecutor(workers, context) as pool:
                    for future in [pool.submit(_render_rows, *job) for job in jobs]:
                        future.result()
            os.chmod(temporary, 0o644)  # mkstemp's files are private; a cache may be shared
            os.replace(temporary, self.cache_file)
        finally:
            Path(temporary).unlink(missing_ok=True)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def _render_rows(path: str, start: int, stop: int, num_categories: int, first: int, size: int, seed: int) -> None:
    images = np.load(path, mmap_mode='r+', allow_pickle=False)
    for row in range(start, stop):
        instance, category = divmod(row, num_categories)
        images[row] = render(category, first + instance, size, seed)
