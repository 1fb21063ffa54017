"""Scenes of coloured, textured figures that are known in words: what is where, how many, on what, in which style.

A scene is one to four equal figures on a ground. Its facts are drawn at random and its pixels from its facts:

    image = style(ground + alpha * (figure - ground)),   alpha = the figures' coverage in [0, 1]

Some pairs of a shape with a colour, and of a shape with a texture, are held out: ``is_held_out`` says which. A
network that is trained on scenes without them has seen each of their two halves, and never both together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import cos, pi, sin

import numpy as np
from numpy.random import Generator, default_rng
from PIL import Image, ImageDraw
from scipy.ndimage import uniform_filter

from vptx.datasets.arrays import check_split

__all__ = ['ATTRIBUTES', 'NEW_STYLES', 'SPLITS', 'Scene', 'draw_scene', 'is_held_out', 'paint', 'scene_rng']

# Of the figures, but for the last two, which are of the ground, and the style, of the whole image.
ATTRIBUTES: dict[str, tuple[str, ...]] = dict(
    shape=('circle', 'square', 'triangle', 'star', 'ring', 'cross', 'diamond', 'heart', 'moon', 'arrow'),
    colour=('red', 'orange', 'yellow', 'green', 'blue', 'purple', 'white', 'black'),
    texture=('plain', 'striped', 'dotted', 'checked', 'speckled'),
    count=('one', 'two', 'three', 'four'),
    size=('small', 'large'),
    place=('left', 'right', 'top', 'bottom', 'middle'),
    ground_colour=('red', 'orange', 'yellow', 'green', 'blue', 'purple', 'white', 'black'),
    ground=('plain', 'striped', 'cloudy', 'gridded'),
    style=('photo', 'drawing', 'painting'),
)
NEW_STYLES = ('mosaic', 'relief')  # never drawn unless asked for
SPLITS = ('train', 'val', 'test')
SIZE = 64
_FINE = 2  # figures are drawn this many times finer, then averaged down


@dataclass(frozen=True)
class Scene:
    """The facts of a drawn scene; each is a word of ``ATTRIBUTES``.

    Attributes:
        shape, colour, texture: of the figures.
        count: how many there are.
        size: of each.
        place: where they are in the image.
        ground_colour, ground: colour and pattern of the background.
        style: of the drawing.
    """

    shape: str
    colour: str
    texture: str
    count: str
    size: str
    place: str
    ground_colour: str
    ground: str
    style: str

    @property
    def number(self) -> int:
        """How many figures."""
        return 1 + ATTRIBUTES['count'].index(self.count)


def is_held_out(shape: str, colour: str | None = None, texture: str | None = None) -> bool:
    """Whether the shape with the colour, or the shape with the texture, is a pair that no training scene shows.

    A fifth of the pairs are: of every shape one texture and one or two colours.
    """
    s = ATTRIBUTES['shape'].index(shape)
    colours = colour is not None and (ATTRIBUTES['colour'].index(colour) + s) % 5 == 2
    return colours or (texture is not None and (ATTRIBUTES['texture'].index(texture) + s) % 5 == 3)


def draw_scene(rng: Generator, pairs: str = 'any', **known: str) -> Scene:
    """Draw the facts of a scene; what is ``known`` is as given.

    Args:
        rng: the source of random numbers.
        pairs: ``'seen'``: neither the shape's colour nor its texture is held out; ``'unseen'``: both are; ``'any'``.
        **known: attributes and their words, such as ``shape='star'``.

    Raises:
        ValueError: an unknown attribute or word, or known words that no scene of these pairs has.
    """
    check_split(pairs, ('any', 'seen', 'unseen'))
    for name, word in known.items():
        words = (*ATTRIBUTES.get(name, ()), *(NEW_STYLES if name == 'style' else ()))
        if word not in words:
            raise ValueError(
                f'a scene has no {name} {word!r}: expected one of {", ".join(words) or "no such attribute"}'
            )
    for _ in range(1000):
        drawn = {name: words[rng.integers(len(words))] for name, words in ATTRIBUTES.items()}
        scene = Scene(**{**drawn, **known})
        out = is_held_out(scene.shape, scene.colour), is_held_out(scene.shape, None, scene.texture)
        if scene.colour != scene.ground_colour and (pairs == 'any' or set(out) == {pairs == 'unseen'}):
            return scene
    raise ValueError(f'none of 1000 scenes with {known} has pairs={pairs!r} and a ground of another colour')


# ------------------------------------------------------------------------------------------------------- shapes


def _star(points: int, inner: float) -> list[tuple[float, float]]:
    radii = (1, inner) * points
    return [(r * sin(pi * i / points), -r * cos(pi * i / points)) for i, r in enumerate(radii)]


def _round(radius: float = 1) -> list[tuple[float, float]]:
    return [(radius * cos(2 * pi * i / 24), radius * sin(2 * pi * i / 24)) for i in range(24)]


def _heart() -> list[tuple[float, float]]:
    turns = [2 * pi * i / 28 for i in range(28)]
    return [(sin(t) ** 3, -(13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)) / 16 - 0.1) for t in turns]


def _moon() -> list[tuple[float, float]]:
    """The part of a disc that another, to its right, leaves."""
    outer = [(cos(a), sin(a)) for a in np.linspace(0.28 * pi, 1.72 * pi, 20)]
    inner = [(0.55 + 0.84 * cos(a), 0.84 * sin(a)) for a in np.linspace(1.6 * pi, 0.4 * pi, 14)]
    return [(x + 0.15, y) for x, y in (*outer, *inner)]


# Polygons of radius about one, y downwards.
_OUTLINES: dict[str, np.ndarray] = dict(
    circle=np.array(_round(0.92)),
    square=np.array([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)]),
    triangle=np.array([(0, -1), (1, 0.8), (-1, 0.8)]),
    star=np.array(_star(5, 0.42)),
    ring=np.array(_round(0.95)),
    cross=np.array([
        (-0.33, -1), (0.33, -1), (0.33, -0.33), (1, -0.33), (1, 0.33), (0.33, 0.33),
        (0.33, 1), (-0.33, 1), (-0.33, 0.33), (-1, 0.33), (-1, -0.33), (-0.33, -0.33),
    ]),
    diamond=np.array([(0, -1.1), (0.75, 0), (0, 1.1), (-0.75, 0)]),
    heart=np.array(_heart()),
    moon=np.array(_moon()),
    arrow=np.array([(-1, -0.3), (0.1, -0.3), (0.1, -0.85), (1, 0), (0.1, 0.85), (0.1, 0.3), (-1, 0.3)]),
)  # fmt: skip
_HOLE = np.array(_round(0.48))  # of a ring

# Where two, three and four figures stand about the middle of their group, in cells.
_GROUPS: dict[int, list[list[tuple[float, float]]]] = {
    1: [[(0, 0)]],
    2: [[(-0.5, 0), (0.5, 0)], [(0, -0.5), (0, 0.5)], [(-0.5, -0.5), (0.5, 0.5)]],
    3: [[(0, -0.5), (-0.5, 0.5), (0.5, 0.5)], [(-0.5, -0.5), (0.5, -0.5), (0, 0.5)]],
    4: [[(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)], [(0, -0.7), (-0.7, 0), (0.7, 0), (0, 0.7)]],
}
# Radii in pixels of an image of 64: of one figure, and of each of several.
_RADII = dict(small=((10.0, 12.5), (7.0, 8.0)), large=((15.0, 20.0), (9.5, 11.0)))
_TOWARDS = dict(left=(-1, 0), right=(1, 0), top=(0, -1), bottom=(0, 1), middle=(0, 0))


def _stand(rng: Generator, scene: Scene) -> tuple[np.ndarray, float]:
    """-> the middles of the figures (n, 2) and their radius, in pixels."""
    radius = rng.uniform(*_RADII[scene.size][scene.number > 1])
    options = _GROUPS[scene.number]
    cells = np.array(options[rng.integers(len(options))], float)
    cell = radius * rng.uniform(2.1, 2.4)
    places = cells * cell + rng.uniform(-0.08, 0.08, cells.shape) * radius
    places -= (places.min(0) + places.max(0)) / 2
    free = SIZE / 2 - places.max(0) - radius  # how far the group can move, each way
    towards = np.array(_TOWARDS[scene.place], float)
    shift = towards * free * rng.uniform(0.75, 1.0) + (1 - np.abs(towards)) * rng.uniform(-0.2, 0.2, 2) * free
    return SIZE / 2 + places + shift, radius


def _cover(rng: Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """-> the figures' coverage, and that of their outlines, each (64, 64, 1) in [0, 1]."""
    middles, radius = _stand(rng, scene)
    canvas, lines = (Image.new('L', (SIZE * _FINE,) * 2) for _ in range(2))
    pen, liner = ImageDraw.Draw(canvas), ImageDraw.Draw(lines)
    outlined = scene.style == 'drawing'
    width = int(rng.integers(2, 4))
    for middle in middles:
        angle = rng.uniform(-0.2, 0.2)
        matrix = radius * _FINE * np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
        rings = (_OUTLINES[scene.shape], _HOLE) if scene.shape == 'ring' else (_OUTLINES[scene.shape],)
        for ring, fill in zip(rings, (255, 0), strict=False):
            points = (ring @ matrix + middle * _FINE).ravel().tolist()
            pen.polygon(points, fill=fill)
            if outlined:
                liner.line(points + points[:4], fill=255, width=width, joint='curve')
    cover, outline = (np.asarray(c.reduce(_FINE), np.float32)[..., None] / 255 for c in (canvas, lines))
    return cover, outline


# ----------------------------------------------------------------------------------------------------- surfaces


@cache
def _grid() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    return rows, columns


def _waves(rng: Generator, period: float, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Two waves (64, 64) across each other."""
    rows, columns = _grid()
    turn = 2 * pi / period
    phases = rng.uniform(0, 2 * pi, 2)
    c, s = turn * cos(angle), turn * sin(angle)
    return np.sin(c * columns + s * rows + phases[0]), np.sin(c * rows - s * columns + phases[1])


def _edge(wave: np.ndarray) -> np.ndarray:
    """A wave as a pattern of two tones, its edges a pixel or so wide."""
    return (0.5 + 1.5 * wave).clip(0, 1)


def _cloud(rng: Generator, cells: int) -> np.ndarray:
    grid = Image.fromarray(rng.random((cells, cells), np.float32))
    return np.asarray(grid.resize((SIZE, SIZE), Image.Resampling.BICUBIC)).clip(0, 1)


def _plain(rng: Generator) -> np.ndarray:
    return np.zeros((SIZE, SIZE), np.float32)


def _striped(rng: Generator) -> np.ndarray:
    return _edge(_waves(rng, rng.uniform(4.5, 6.5), rng.integers(4) * pi / 4 + rng.uniform(-0.15, 0.15))[0])


def _dotted(rng: Generator) -> np.ndarray:
    a, b = _waves(rng, rng.uniform(5, 6.5), rng.integers(2) * pi / 4 + rng.uniform(-0.15, 0.15))
    return (1.6 * (a + b) - 0.9).clip(0, 1)


def _checked(rng: Generator) -> np.ndarray:
    a, b = _waves(rng, rng.uniform(7, 9.5), rng.uniform(-0.15, 0.15))
    return _edge(3 * a * b)


def _speckled(rng: Generator) -> np.ndarray:
    return np.repeat(np.repeat(rng.random((SIZE // 2, SIZE // 2), np.float32) < 0.35, 2, 0), 2, 1).astype(np.float32)


def _wide_stripes(rng: Generator) -> np.ndarray:
    return _edge(_waves(rng, rng.uniform(11, 17), rng.uniform(0, pi))[0])


def _cloudy(rng: Generator) -> np.ndarray:
    return (2.5 * _cloud(rng, int(rng.integers(4, 8))) - 0.75).clip(0, 1)


def _gridded(rng: Generator) -> np.ndarray:
    a, b = _waves(rng, rng.uniform(11, 17), rng.uniform(-0.1, 0.1))
    return (6 * np.maximum(a, b) - 5).clip(0, 1)


_TEXTURES: dict[str, Callable[[Generator], np.ndarray]] = dict(
    plain=_plain, striped=_striped, dotted=_dotted, checked=_checked, speckled=_speckled
)
_GROUNDS: dict[str, Callable[[Generator], np.ndarray]] = dict(
    plain=_plain, striped=_wide_stripes, cloudy=_cloudy, gridded=_gridded
)
_COLOURS = dict(
    red=(0.85, 0.12, 0.12), orange=(0.97, 0.55, 0.1), yellow=(0.95, 0.9, 0.2), green=(0.15, 0.62, 0.2),
    blue=(0.15, 0.3, 0.88), purple=(0.58, 0.2, 0.72), white=(0.94, 0.94, 0.94), black=(0.08, 0.08, 0.08),
)  # fmt: skip


def _colour(rng: Generator, word: str) -> np.ndarray:
    """A colour that has this name, (3,)."""
    return (np.array(_COLOURS[word]) * rng.uniform(0.88, 1.08) + rng.normal(0, 0.035, 3)).clip(0, 1)


def _surface(pattern: np.ndarray, colour: np.ndarray, contrast: float) -> np.ndarray:
    """A pattern (64, 64) in a colour and a darker or lighter one: (64, 64, 3)."""
    other = colour + contrast * ((0.0 if colour.mean() > 0.45 else 1.0) - colour)
    return (colour + pattern[..., None] * (other - colour)).astype(np.float32)


# ------------------------------------------------------------------------------------------------------- styles


def _photo(rng: Generator, image: np.ndarray) -> np.ndarray:
    """Light from a side, a blurred lens, grain."""
    rows, columns = _grid()
    angle, fall = rng.uniform(0, 2 * pi), rng.uniform(0.1, 0.45)
    light = 1 - fall * (0.5 + ((cos(angle) * columns + sin(angle) * rows) / SIZE - 0.5))
    image = image * light[..., None].astype(np.float32)
    if rng.random() < 0.5:
        image = uniform_filter(image, (2, 2, 0))
    return image + rng.uniform(0.015, 0.06) * rng.standard_normal((SIZE, SIZE, 1), np.float32)


def _drawing(rng: Generator, image: np.ndarray) -> np.ndarray:
    """Pale, on paper."""
    paper = rng.uniform(0.05, 0.25)
    return image * (1 - paper) + paper


def _painting(rng: Generator, image: np.ndarray) -> np.ndarray:
    """Wavering contours and strokes of light and dark."""
    rows, columns = _grid()
    reach = rng.uniform(2, 4)
    there = [axis + reach * (_cloud(rng, 9) - 0.5) for axis in (rows, columns)]
    y, x = (axis.round().clip(0, SIZE - 1).astype(int) for axis in there)
    return image[y, x] + rng.uniform(0.1, 0.3) * (_cloud(rng, 24)[..., None] - 0.5)


def _mosaic(rng: Generator, image: np.ndarray) -> np.ndarray:
    """Tiles of one tone each, all a little different, with dark joints."""
    side = 4
    few = SIZE // side
    tiles = image.reshape(few, side, few, side, 3).mean((1, 3))
    tiles = tiles * rng.uniform(0.8, 1.2, (few, few, 1)).astype(np.float32)
    image = np.repeat(np.repeat(tiles, side, 0), side, 1)
    image[::side] *= 0.75
    image[:, ::side] *= 0.75
    return image


def _relief(rng: Generator, image: np.ndarray) -> np.ndarray:
    """Grey, lit from a corner: edges alone are seen."""
    grey = uniform_filter(image.mean(-1), 2)
    step = grey - np.roll(grey, (1, 1), (0, 1))
    step[0] = step[:, 0] = 0
    shade = rng.uniform(0.4, 0.6) + rng.choice((-1, 1)) * rng.uniform(1.0, 1.6) * step
    return np.repeat(shade[..., None], 3, -1) + 0.03 * rng.standard_normal((SIZE, SIZE, 1), np.float32)


_STYLES: dict[str, Callable[[Generator, np.ndarray], np.ndarray]] = dict(
    photo=_photo, drawing=_drawing, painting=_painting, mosaic=_mosaic, relief=_relief
)


def paint(rng: Generator, scene: Scene) -> np.ndarray:
    """A scene as an RGB image (64, 64, 3), uint8."""
    cover, outline = _cover(rng, scene)
    figure = _surface(_TEXTURES[scene.texture](rng), _colour(rng, scene.colour), rng.uniform(0.55, 0.8))
    back = _colour(rng, scene.ground_colour) * 0.8 + 0.1
    ground = _surface(_GROUNDS[scene.ground](rng), back, rng.uniform(0.2, 0.4))
    image = ground + cover * (figure - ground)
    if scene.style == 'drawing':
        image *= 1 - 0.85 * outline
    image = _STYLES[scene.style](rng, image)
    return (image * 255).clip(0, 255).astype(np.uint8)


def scene_rng(seed: int, split: str, index: int) -> Generator:
    """The random numbers of the scene ``index`` of a split: no two scenes, splits or seeds share them."""
    return default_rng([seed, SPLITS.index(split), index])
