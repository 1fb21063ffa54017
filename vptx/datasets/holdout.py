"""Public data sets that come with a training and a test split, and need a validation split to choose by.

Every tenth training image is held out: the share of Jia et al. 2022 (CUB-200-2011: 5,394 to train on, 600 to choose
by, 5,794 to test with), who published their lists, at an address that is gone. Training lists sorted by class give
every class its share.
"""

from pathlib import Path

import numpy as np
from mmpretrain.datasets import CIFAR10, CIFAR100, CUB, FashionMNIST

from vptx.cache import locate
from vptx.registry import DATASETS

from .arrays import check_split


class Holdout:
    """A wrapper of a data set of mmpretrain: the splits 'train' and 'val' ('trainval' together), disjoint, and 'test'.

    Args:
        data_root: the folder of the data set, or ``real://NAME``, what ``make real`` has fetched.
        split: one of 'train', 'val', 'trainval', 'test'.
        kwargs: of mmpretrain's BaseDataset.

    Raises:
        FileNotFoundError: says what is missing, where it was looked for, and how to get it.
        ValueError: an unknown split, or one without images.
    """

    SPLITS = ('train', 'val', 'trainval', 'test')
    EVERY = 10
    HOW_TO_GET: str

    def __init__(self, data_root: str, split: str = 'train', **kwargs) -> None:
        self.part = check_split(split, self.SPLITS)
        super().__init__(data_root=str(locate(data_root)), split='test' if split == 'test' else 'train', **kwargs)

    def load_data_list(self) -> list[dict]:
        try:
            items = super().load_data_list()
        # What mmpretrain raises for a file that is not there, a download that fails, or a sum that does not agree.
        except (OSError, RuntimeError, AssertionError) as error:
            place = Path(self.data_root).absolute()
            raise FileNotFoundError(f'no {type(self).__name__} in {place}: {error}. {self.HOW_TO_GET}') from error
        if self.part == 'train':
            items = [item for index, item in enumerate(items) if index % self.EVERY]
        elif self.part == 'val':
            items = items[:: self.EVERY]
        if not items:
            raise ValueError(f"{type(self).__name__} in {Path(self.data_root).absolute()} has an empty '{self.part}'")
        return items


def _fetched(kind: type[CIFAR10]) -> str:
    return (
        f'It is downloaded once where there is a network; or fetch {kind.url} elsewhere and put {kind.filename} into '
        'this folder'
    )


@DATASETS.register_module()
class HoldoutCUB(Holdout, CUB):
    """CUB-200-2011, 200 kinds of birds: 5,394 training, 600 validation and 5,794 test images.

    Source: Wah et al., Caltech-UCSD technical report, 2011.

    Args:
        data_root, split, **kwargs: of ``Holdout``.
    """

    HOW_TO_GET = (
        'Download CUB_200_2011.tgz from https://data.caltech.edu/records/65de6-vp158 and unpack it, so that '
        'images.txt, image_class_labels.txt, train_test_split.txt and images/ lie in this folder'
    )


class HoldoutCIFAR(Holdout):
    """A data set of CIFAR.

    Items are BGR, as image files are loaded, so that a model takes both through one data preprocessor.

    Args:
        data_root, split, **kwargs: of ``Holdout``.
    """

    def load_data_list(self) -> list[dict]:
        return [dict(item, img=item['img'][..., ::-1]) for item in super().load_data_list()]


@DATASETS.register_module()
class HoldoutCIFAR10(HoldoutCIFAR, CIFAR10):
    """CIFAR-10: 45,000 training, 5,000 validation and 10,000 test images of 32 by 32 pixels.

    It is downloaded if it is missing.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, 2009.

    Args:
        data_root, split, **kwargs: of ``Holdout``.
    """

    HOW_TO_GET = _fetched(CIFAR10)


@DATASETS.register_module()
class HoldoutCIFAR100(HoldoutCIFAR, CIFAR100):
    """CIFAR-100: 45,000 training, 5,000 validation and 10,000 test images of 32 by 32 pixels.

    It is downloaded if it is missing.

    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical report, 2009.

    Args:
        data_root, split, **kwargs: of ``Holdout``.
    """

    HOW_TO_GET = _fetched(CIFAR100)


@DATASETS.register_module()
class HoldoutFashionMNIST(Holdout, FashionMNIST):
    """Fashion-MNIST: 54,000 training, 6,000 validation and 10,000 test images of 28 by 28 pixels, grey in three equal
    channels.

    Source: Xiao, Rasul and Vollgraf, 2017, https://arxiv.org/abs/1708.07747.

    Args:
        data_root, split, **kwargs: of ``Holdout``.
        download: whether mmpretrain downloads what is missing.
    """

    HOW_TO_GET = 'Fetch it with "make real", and give data_root="real://fashion_mnist"'

    def __init__(self, data_root: str, split: str = 'train', download: bool = False, **kwargs) -> None:
        super().__init__(data_root, split, download=download, **kwargs)

    def load_data_list(self) -> list[dict]:
        return [
            dict(item, img=np.repeat(item['img'][..., None], 3, axis=2), gt_label=int(item['gt_label']))
            for item in super().load_data_list()
        ]
