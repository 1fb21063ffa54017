"""A data set whose images are rows of one array: in memory, or mapped from a file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from mmpretrain.datasets import BaseDataset


def check_split(split: str, splits: Sequence[str]) -> str:
    """The split, or a ValueError that lists those there are."""
    if split not in splits:
        raise ValueError(f'split must be one of {", ".join(map(repr, splits))}, got {split!r}')
    return split


@contextmanager
def extra(package: str) -> Iterator[None]:
    """Say how to install a package that only the mini benchmarks need, if importing it in this context fails."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f'this data set comes from {package}: pip install vptx[mini]') from error


class ArrayDataset(BaseDataset):
    """Items are dict(img=(H, W, 3) uint8, gt_label=int, sample_idx=int).

    Arrays are RGB; items are BGR, as OpenMMLab loads image files, so that one `to_rgb=True` in the data
    preprocessor is right for both. A subclass writes `load_arrays`.
    The images stay where they are: `data_list` holds row numbers only, sub-sets share the array, and a mapped
    file travels to loader processes by its name, never by its bytes.

    Args:
        kwargs: of mmpretrain's BaseDataset: pipeline, indices, test_mode, lazy_init, metainfo, classes.
    """

    images: np.ndarray
    labels: np.ndarray

    def __init__(self, **kwargs):
        super().__init__(ann_file='', serialize_data=False, **kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """-> images (n, H, W, 3) uint8, labels (n,) int."""
        raise NotImplementedError

    def load_data_list(self) -> Sequence[int]:
        self.images, self.labels = self.load_arrays()
        if len(self.images) == 0:
            raise ValueError(f'{type(self).__name__} is empty')
        return range(len(self.images))

    def get_data_info(self, idx: int) -> dict:
        self.full_init()
        row = self.data_list[idx]
        # A copy: transforms may write, and the array may be a read-only file.
        image = np.array(self.images[row][..., ::-1])
        return dict(img=image, gt_label=int(self.labels[row]), sample_idx=idx % len(self))

    def get_gt_labels(self) -> np.ndarray:
        """(n,) labels, without touching an image."""
        self.full_init()
        return self.labels[np.asarray(self.data_list, dtype=int)]

    def get_cat_ids(self, idx: int) -> list[int]:
        self.full_init()
        return [int(self.labels[self.data_list[idx]])]

    def extra_repr(self) -> list[str]:
        return []

    def _copy_without_annotation(self, memo=None):
        # deepcopy takes what it finds in the memo: sub-sets look at the same pixels.
        return super()._copy_without_annotation({id(a): a for a in (self.images, self.labels)} | (memo or {}))

    def __getstate__(self) -> dict:
        state = self.__dict__.copy()
        if isinstance(state.get('images'), np.memmap):
            state['images'] = str(state['images'].filename)
        return state

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if isinstance(state.get('images'), str):
            self.images = np.load(state['images'], mmap_mode='r', allow_pickle=False)
