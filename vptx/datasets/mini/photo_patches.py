"""Which photograph does this patch come from? The photographs are those inside scikit-image's wheel.

van der Walt et al. 2014, scikit-image: image processing in Python, https://doi.org/10.7717/peerj.453
Where each photograph comes from: https://scikit-image.org/docs/stable/api/skimage.data.html

Every photograph is cut into tiles of 72 pixels or more, and each tile belongs to one split:

    train  train  val    test   train  train  ...
    val    test   train  train  val    test   ...
    train  train  val    test   train  train  ...

Patches stay 4 pixels off the edges of their tile. So 8 pixels part any two splits, and yet each split sees
parts from all over a photograph.
"""

from importlib.resources import files

import numpy as np
from PIL import Image

from vptx.datasets.arrays import ArrayDataset, check_split, extra
from vptx.registry import DATASETS

# The file of each class. They are read by name, because functions of skimage.data may try to download.
PHOTOGRAPHS = dict(
    astronaut='astronaut.png',
    brick='brick.png',
    camera='camera.png',
    cell='cell.png',
    chelsea='chelsea.png',
    coffee='coffee.png',
    coins='coins.png',
    grass='grass.png',
    gravel='gravel.png',
    hubble='hubble_deep_field.jpg',
    immunohistochemistry='ihc.png',
    moon='moon.png',
    motorcycle='motorcycle_left.png',
    page='page.png',
    retina='retina.jpg',
    rocket='rocket.jpg',
    text='text.png',
)

TILE, MARGIN, SIDES = 72, 4, (36, 64)  # pixels of a photograph; SIDES are the least and the most of a patch


def tiles(height: int, width: int, split: str) -> np.ndarray:
    """-> (n, 4) of left, top, right, bottom: where patches of a split lie in a photograph of this size."""
    down, across = height // TILE, width // TILE
    wanted = dict(train=(0, 1), val=(2,), test=(3,))[split]
    places = np.array([(j, i) for i in range(down) for j in range(across) if (j + 2 * i) % 4 in wanted])
    corners = [ends * (width, height) // (across, down) for ends in (places, places + 1)]
    return np.concatenate([corners[0] + MARGIN, corners[1] - MARGIN], 1)


def draw_box(rng: np.random.Generator, height: int, width: int, split: str) -> tuple[int, int, int, int]:
    """-> left, top, right, bottom of a random square in a random tile of the split."""
    left, top, right, bottom = rng.choice(tiles(height, width, split))
    side = rng.integers(*SIDES, endpoint=True)
    x, y = rng.integers((left, top), (right - side, bottom - side), endpoint=True)
    return int(x), int(y), int(x + side), int(y + side)


@DATASETS.register_module()
class PhotoPatches(ArrayDataset):
    """Patches of 17 photographs: of surfaces, the sky, tissue, print, people, a cat, machines.

    Places and sizes (36 to 64 pixels of the photograph) are random, brightness and contrast are shuffled, and
    featureless patches are left out; all of it is fixed by the seed. The classes take turns.

    Source: van der Walt et al. (scikit-image), 2014, https://doi.org/10.7717/peerj.453.

    Args:
        split: 'train', 'val', 'test' or 'trainval' (train, then val), kept apart as said above.
        num_train: training images; fewer are a sub-set of more, and the other splits stay as they are.
        num_val: validation images.
        num_test: test images.
        grey: without colour, which identifies many of the photographs.
        size: pixels of a side.
        seed: of places, sizes, brightness and contrast.
        kwargs: of mmpretrain's BaseDataset.
    """

    METAINFO = dict(classes=tuple(PHOTOGRAPHS))
    SPLITS = ('train', 'val', 'test', 'trainval')

    def __init__(
        self,
        split: str = 'train',
        num_train: int = 17 * 40,
        num_val: int = 17 * 30,
        num_test: int = 17 * 60,
        grey: bool = True,
        size: int = 64,
        seed: int = 0,
        **kwargs,
    ):
        self.split, self.grey, self.size, self.seed = check_split(split, self.SPLITS), grey, size, seed
        self.counts = dict(train=num_train, val=num_val, test=num_test)
        if min(self.counts.values()) < 1:
            raise ValueError(f'PhotoPatches is empty: every split needs an image, got {self.counts}')
        super().__init__(**kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        with extra('scikit-image'):
            folder = files('skimage') / 'data'
        photographs = []
        for name in PHOTOGRAPHS.values():
            with (folder / name).open('rb') as file:
                photographs.append(Image.open(file).convert('L' if self.grey else 'RGB'))
        splits = ('train', 'val') if self.split == 'trainval' else (self.split,)
        rows = [(split, i, i % len(photographs)) for split in splits for i in range(self.counts[split])]
        images = [self._patch(photographs[label], split, i) for split, i, label in rows]
        return np.stack(images), np.array([label for *_, label in rows])

    def _patch(self, photograph: Image.Image, split: str, i: int) -> np.ndarray:
        """-> (size, size, 3) uint8, the i-th patch of its split."""
        rng = np.random.default_rng([self.seed, self.SPLITS.index(split), i])
        for _ in range(100):
            box = draw_box(rng, photograph.height, photograph.width, split)
            # Crop first: resize(box=...) would look at pixels around the box.
            crop = photograph.crop(box).resize((self.size, self.size), Image.Resampling.BICUBIC)
            patch = np.asarray(crop, np.float32)
            if patch.std() > 6:  # otherwise it is bare sky or paper, and could be anyone's
                break
        patch = (patch - patch.mean()) * 1.6 ** rng.uniform(-1, 1) + rng.uniform(90, 165)
        patch = patch.round().clip(0, 255).astype(np.uint8)
        return np.repeat(patch[..., None], 3, axis=-1) if self.grey else patch
