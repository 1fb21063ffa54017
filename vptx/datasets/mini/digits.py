"""Handwritten digits, few to learn from: the 1,797 images of 8 by 8 pixels that come with scikit-learn.

Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, https://doi.org/10.24432/C50P49,
CC BY 4.0; scikit-learn ships its test part, by 13 writers. The splits are drawn at random within each class
and so share the writers: this is a task of few examples, not of new hands.

Crowded after the street numbers of Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature
Learning", 2011, http://ufldl.stanford.edu/housenumbers/.
"""

import numpy as np
from PIL import Image

from vptx.datasets.arrays import ArrayDataset, check_split, extra
from vptx.registry import DATASETS


@DATASETS.register_module()
class Digits(ArrayDataset):
    """Digits 0 to 9, bright on black: up to 400 to train on, 200 to choose by, 1,197 to test with.

    Crowded, each stands in the middle of others, as on the house numbers of SVHN, and the one in the middle counts.
    Alone, they leave little to adapt: a linear probe of ViT-mini reads 97 % of them.

    Source: Alpaydin and Kaynak, 1998, https://doi.org/10.24432/C50P49.

    Args:
        split: 'train', 'val', 'test' or 'trainval' (train, then val).
        num_train: how many of the 400 training images, balanced to within one per class. Fewer are a sub-set
            of more, and the other splits stay as they are. The default leaves something to gain: with all 400
            even a linear classifier of raw pixels nears 95 % (tests/datasets/mini/test_digits.py).
        crowded: 0 shows each digit alone; k shows it k times, each time among other digits of its split, the row
            a little turned, zoomed and shifted.
        size: pixels of a side, enlarged smoothly (bicubic) and repeated as three channels.
        kwargs: of mmpretrain's BaseDataset.
    """

    METAINFO = dict(classes=tuple('0123456789'))
    SPLITS = ('train', 'val', 'test', 'trainval')
    TRAIN, VAL = 40, 20  # images per class; the rest is for testing
    SEED = 0  # of the permutations within each class that fix the splits for good
    _drawn: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}  # by all that they depend on, once in a process

    def __init__(self, split: str = 'train', num_train: int = 100, crowded: int = 0, size: int = 64, **kwargs):
        self.split, self.num_train, self.size = check_split(split, self.SPLITS), num_train, size
        if not 0 < num_train <= 10 * self.TRAIN:
            raise ValueError(f'num_train must be in 1..{10 * self.TRAIN}, got {num_train}')
        if crowded < 0:
            raise ValueError(f'crowded must be 0 (digits alone) or how many times to show each, got {crowded}')
        self.crowded = crowded
        super().__init__(**kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        facts = type(self), self.split, self.num_train, self.crowded, self.size
        if facts not in self._drawn:
            self._drawn[facts] = self._draw()
        return self._drawn[facts]

    def _draw(self) -> tuple[np.ndarray, np.ndarray]:
        with extra('scikit-learn'):
            from sklearn.datasets import load_digits
        digits = load_digits()
        rows = self.rows(digits.target)
        images, labels = digits.images[rows] * (255 / 16), digits.target[rows]
        if not self.crowded:
            return np.stack([self._colour(_enlarge(image, self.size)) for image in images]), labels
        images = np.stack([_enlarge(image, _SIDE) for image in images])
        crowds = [self._crowd(images, i, k) for k in range(self.crowded) for i in range(len(images))]
        return np.stack(crowds), np.tile(labels, self.crowded)

    def rows(self, target: np.ndarray) -> np.ndarray:
        """Labels (1797,) -> the rows of this split; in training and validation the classes take turns."""
        rng = np.random.default_rng(self.SEED)
        classes = [rng.permutation(np.flatnonzero(target == digit)) for digit in range(10)]
        train = np.stack([rows[: self.TRAIN] for rows in classes], 1).ravel()[: self.num_train]
        val = np.stack([rows[self.TRAIN : self.TRAIN + self.VAL] for rows in classes], 1).ravel()
        test = np.concatenate([rows[self.TRAIN + self.VAL :] for rows in classes])
        return dict(train=train, val=val, test=test, trainval=np.concatenate([train, val]))[self.split]

    def _crowd(self, images: np.ndarray, middle: int, time: int) -> np.ndarray:
        """Digits (n, 40, 40) -> (size, size, 3): one of them between others, some places empty, seen a little askew."""
        rng = np.random.default_rng([self.SEED, self.SPLITS.index(self.split), middle, time])
        row = np.zeros((128, 192), np.float32)  # twice and thrice the 64 pixels of a view, which may turn in it
        step = int(rng.integers(28, 36))
        for place in range(-2, 3):
            if place and rng.random() < 0.15:
                continue
            image = images[rng.integers(len(images)) if place else middle]
            left = (192 - _SIDE) // 2 + place * step + int(rng.integers(-2, 3))
            top = (128 - _SIDE) // 2 + int(rng.integers(-3, 4))
            there = row[top : top + _SIDE, left : left + _SIDE]
            np.maximum(there, image, out=there)
        pixel = 64 / self.size / rng.uniform(0.8, 1.25)
        turn = np.deg2rad(rng.uniform(-10, 10))
        cos, sin = pixel * np.cos(turn), pixel * np.sin(turn)
        x, y = self.size / 2 + rng.uniform(-5, 5, 2) * self.size / 64  # where in the view the middle of the row is
        view = (cos, -sin, 96 - cos * x + sin * y, sin, cos, 64 - sin * x - cos * y)
        seen = Image.fromarray(row).transform((self.size,) * 2, Image.Transform.AFFINE, view, Image.Resampling.BILINEAR)
        return self._colour(np.asarray(seen))

    @staticmethod
    def _colour(grey: np.ndarray) -> np.ndarray:
        """(size, size) of 0..255 -> (size, size, 3)."""
        return np.repeat(grey.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)


_SIDE = 40  # of a digit in a crowd, in pixels of a view of 64


def _enlarge(image: np.ndarray, size: int) -> np.ndarray:
    """(8, 8) -> (size, size), smoothly."""
    return np.asarray(Image.fromarray(image.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC))
