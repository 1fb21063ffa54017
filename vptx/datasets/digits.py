"""Handwritten digits, few to learn from: the 1,797 images of 8 by 8 pixels that come with scikit-learn.

Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI, https://doi.org/10.24432/C50P49,
CC BY 4.0; scikit-learn ships its test part, by 13 writers. The splits are drawn at random within each class
and so share the writers: this is a task of few examples, not of new hands.
"""

import numpy as np
from PIL import Image

from vptx.registry import DATASETS

from .arrays import ArrayDataset, check_split, extra


@DATASETS.register_module()
class Digits(ArrayDataset):
    """Digits 0 to 9, bright on black: up to 400 to train on, 200 to choose by, 1,197 to test with.

    Args:
        split: 'train', 'val', 'test' or 'trainval' (train, then val).
        num_train: how many of the 400 training images, balanced to within one per class. Fewer are a sub-set
            of more, and the other splits stay as they are. The default leaves something to gain: with all 400
            even a linear classifier of raw pixels nears 95 % (tests/datasets/test_digits.py).
        size: pixels of a side, enlarged smoothly (bicubic) and repeated as three channels.
        kwargs: of mmpretrain's BaseDataset.
    """

    METAINFO = dict(classes=tuple('0123456789'))
    SPLITS = ('train', 'val', 'test', 'trainval')
    TRAIN, VAL = 40, 20  # images per class; the rest is for testing
    SEED = 0  # of the permutations within each class that fix the splits for good

    def __init__(self, split: str = 'train', num_train: int = 100, size: int = 64, **kwargs):
        self.split, self.num_train, self.size = check_split(split, self.SPLITS), num_train, size
        if not 0 < num_train <= 10 * self.TRAIN:
            raise ValueError(f'num_train must be in 1..{10 * self.TRAIN}, got {num_train}')
        super().__init__(**kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        with extra('scikit-learn'):
            from sklearn.datasets import load_digits
        digits = load_digits()
        rows = self.rows(digits.target)
        return np.stack([self._enlarge(image) for image in digits.images[rows]]), digits.target[rows]

    def rows(self, target: np.ndarray) -> np.ndarray:
        """Labels (1797,) -> the rows of this split; in training and validation the classes take turns."""
        rng = np.random.default_rng(self.SEED)
        classes = [rng.permutation(np.flatnonzero(target == digit)) for digit in range(10)]
        train = np.stack([rows[: self.TRAIN] for rows in classes], 1).ravel()[: self.num_train]
        val = np.stack([rows[self.TRAIN : self.TRAIN + self.VAL] for rows in classes], 1).ravel()
        test = np.concatenate([rows[self.TRAIN + self.VAL :] for rows in classes])
        return dict(train=train, val=val, test=test, trainval=np.concatenate([train, val]))[self.split]

    def _enlarge(self, image: np.ndarray) -> np.ndarray:
        """(8, 8) of 0..16 -> (size, size, 3) of 0..255."""
        small = Image.fromarray(image.astype(np.float32) * (255 / 16))
        grey = np.asarray(small.resize((self.size, self.size), Image.Resampling.BICUBIC))
        return np.repeat(grey.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
