"""Scenes to segment: cut-outs on photographs, every pixel of a known class. Neither a cut-out nor a photograph is in
two splits. The photographs are those inside scikit-image's wheel; the cut-outs of a thing stay in one split.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from numpy.random import Generator, default_rng
from PIL import Image, ImageOps

from vptx.datasets.arrays import extra
from vptx.real.cutouts import Cutout

__all__ = ['NUMBERS', 'PHOTOGRAPHS', 'compose', 'write_scenes']

#: Read by name, because functions of skimage.data may try to download.
PHOTOGRAPHS = dict(
    train=(
        'brick.png',
        'camera.png',
        'coffee.png',
        'gravel.png',
        'hubble_deep_field.jpg',
        'motorcycle_left.png',
        'rocket.jpg',
    ),
    val=('chelsea.png', 'coins.png', 'moon.png'),
    test=('astronaut.png', 'grass.png', 'ihc.png', 'retina.jpg'),
)
#: Of scenes in each split.
NUMBERS = dict(train=240, val=60, test=120)
SIDE = 112  # px


def compose(
    rng: Generator, photographs: Sequence[Image.Image], cutouts: Mapping[str, Sequence[Image.Image]], side: int = SIDE
) -> tuple[Image.Image, Image.Image]:
    """-> an image and its mask (side, side): 0 is the photograph, 1 the first class of ``cutouts``."""
    photograph = photographs[int(rng.integers(len(photographs)))]
    length = int(min(photograph.size) * rng.uniform(0.4, 1))
    left, top = (int(rng.integers(space - length, endpoint=True)) for space in photograph.size)
    image = photograph.crop((left, top, left + length, top + length)).resize((side, side), Image.Resampling.LANCZOS)
    mask = Image.new('L', (side, side))
    for _ in range(rng.integers(1, 4)):
        label = int(rng.integers(len(cutouts)))
        kind = list(cutouts.values())[label]
        picture = kind[int(rng.integers(len(kind)))]
        if rng.integers(2):
            picture = ImageOps.mirror(picture)
        longest = int(side * rng.uniform(0.35, 0.75))
        picture = ImageOps.contain(picture, (longest, longest), Image.Resampling.LANCZOS)
        left, top = (int(rng.integers(-(length // 4), side - 3 * length // 4)) for length in picture.size)
        image.paste(picture.convert('RGB'), (left, top), picture.getchannel('A'))
        mask.paste(label + 1, (left, top), picture.getchannel('A').point(lambda alpha: 255 * (alpha >= 128)))
    return image, mask


def write_scenes(splits: Mapping[str, Sequence[Cutout]], target: Path, seed: int = 0) -> None:
    """Write ``images/<split>/0000.png`` and ``masks/<split>/0000.png`` into ``target``."""
    with extra('scikit-image'):
        folder = files('skimage') / 'data'
    labels = sorted({cutout.label for chosen in splits.values() for cutout in chosen})
    for number, (split, chosen) in enumerate(splits.items()):
        cutouts = {label: [c.image for c in chosen if c.label == label] for label in labels}
        photographs = []
        for name in PHOTOGRAPHS[split]:
            with (folder / name).open('rb') as file:
                photographs.append(Image.open(file).convert('RGB'))
        places = [target / kind / split for kind in ('images', 'masks')]
        for place in places:
            place.mkdir(parents=True)
        for index in range(NUMBERS[split]):
            for place, picture in zip(places, compose(default_rng([seed, number, index]), photographs, cutouts)):
                picture.save(place / f'{index:04}.png')
