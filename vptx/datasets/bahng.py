"""Data sets of Bahng et al. that neither CoOp nor mmpretrain reads: SVHN, RESISC45 and counting in CLEVR, all images.

Bahng et al., "Exploring Visual Prompts for Adapting Large-Scale Models", 2022, https://arxiv.org/abs/2203.17274. Of
their twelve, CIFAR-10 and CIFAR-100 are in ``holdout.py``, and Flowers102, Food101, EuroSAT, SUN397, UCF101, OxfordPets
and DTD have the splits of CoOp (``coop.py``). VTAB-1k has 1,000 training images of each of the three in this file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vptx.datasets.arrays import ArrayDataset, check_split
from vptx.datasets.image_list import ImageList, Images, need, read_lines
from vptx.files import read_json
from vptx.registry import DATASETS

__all__ = ['RESISC45', 'SVHN', 'CLEVRCount']

EVERY = 10  # that many-th training image is val, where none was published


def _of_train(found: Any, split: str) -> Any:
    """The part of published training images that is 'train', 'val', or 'trainval', which is all."""
    if split == 'trainval':
        return found
    held_out = np.arange(len(found)) % EVERY == EVERY // 2
    return [x for x, held in zip(found, held_out, strict=True) if held == (split == 'val')]


@DATASETS.register_module()
class RESISC45(ImageList):
    """Satellite images of 45 kinds of scenes: Cheng et al., Proceedings of the IEEE, 2017,
    https://arxiv.org/abs/1703.00121.

    ``<data_root>/NWPU-RESISC45/<class>/<class>_001.jpg``, and ``resisc45-train.txt``, ``-val.txt`` and ``-test.txt``,
    18,900, 6,300 and 6,300 names of files: the split of Neumann et al. 2019, https://arxiv.org/abs/1911.06721.

    Raises:
        FileNotFoundError: of ``ImageList``.
        ValueError: a list of other classes than 45, or a line that names no image of a class.
    """

    NUM_CLASSES = 45

    def class_names(self, root: Path) -> Sequence[str]:
        return [name.replace('_', ' ') for name in self._folders(root)]

    def read(self, root: Path, split: str) -> Images:
        number = {name: label for label, name in enumerate(self._folders(root))}
        images = []
        for line, name in self._lines(root, split):
            folder = name.rpartition('_')[0]
            if folder not in number:
                raise ValueError(f"{self._list(root, split)}, line {line}: '{name}' is no image of a class of train")
            images.append((root / 'NWPU-RESISC45' / folder / name, number[folder]))
        return images

    def _folders(self, root: Path) -> list[str]:
        found = sorted({name.rpartition('_')[0] for _, name in self._lines(root, 'train')})
        if len(found) != self.NUM_CLASSES:
            raise ValueError(f'{self._list(root, "train")} has {len(found)} classes, not {self.NUM_CLASSES}')
        return found

    def _lines(self, root: Path, split: str) -> list[tuple[int, str]]:
        return read_lines(self._list(root, split))

    @staticmethod
    def _list(root: Path, split: str) -> Path:
        how = (
            'Get NWPU-RESISC45 from the page of its authors, and resisc45-train.txt, resisc45-val.txt and '
            'resisc45-test.txt of Neumann et al., to which torchgeo has links, and put them into this folder'
        )
        return need(root / f'resisc45-{split}.txt', 'RESISC45', how)


@DATASETS.register_module()
class CLEVRCount(ImageList):
    """How many objects are there, 3 to 10? CLEVR, 70,000 and 15,000 images: Johnson et al., CVPR 2017,
    https://arxiv.org/abs/1612.06890.

    ``<data_root>`` is the unpacked CLEVR_v1.0. The test split, whose scenes are not public, is its val; every tenth
    training image is val.

    Raises:
        FileNotFoundError: of ``ImageList``.
        ValueError: scenes without images or objects, or with another number of them.
    """

    COUNTS = range(3, 11)

    def class_names(self, root: Path) -> Sequence[str]:
        return [str(count) for count in self.COUNTS]

    def read(self, root: Path, split: str) -> Images:
        part = 'val' if split == 'test' else 'train'
        how = 'Get CLEVR_v1.0.zip from https://cs.stanford.edu/people/jcjohns/clevr/ and unpack it'
        path = need(root / 'scenes' / f'CLEVR_{part}_scenes.json', 'CLEVR', how)
        found = read_json(path)
        scenes = found.get('scenes') if isinstance(found, dict) else None
        if not isinstance(scenes, list) or not all(map(_is_scene, scenes)):
            raise ValueError(f'{path} has no scenes of CLEVR: expected a list of image_filename and objects')
        images = []
        for scene in scenes:
            if len(scene['objects']) not in self.COUNTS:
                raise ValueError(f'{path}: {scene["image_filename"]} has {len(scene["objects"])} objects, not 3 to 10')
            images.append((root / 'images' / part / scene['image_filename'], len(scene['objects']) - self.COUNTS[0]))
        return images if split == 'test' else _of_train(sorted(images), split)


def _is_scene(scene: Any) -> bool:
    return (
        isinstance(scene, dict)
        and isinstance(scene.get('image_filename'), str)
        and isinstance(scene.get('objects'), list)
    )


@DATASETS.register_module()
class SVHN(ArrayDataset):
    """Digits of street numbers, cropped to 32 px, 73,257 and 26,032 images: Netzer et al., 2011.

    Source: Bahng et al., 2022, https://arxiv.org/abs/2203.17274, for the task.

    ``<data_root>`` has ``train_32x32.mat`` and ``test_32x32.mat``. Every tenth training image is val.

    Args:
        data_root: folder of the files.
        split: 'train', 'val', 'trainval' or 'test'.
        kwargs: of mmpretrain's BaseDataset.

    Raises:
        FileNotFoundError: says what is missing, where it was looked for, and how to get it.
        ValueError: an unknown split, or a file that is not of SVHN.
    """

    METAINFO = dict(classes=[str(digit) for digit in range(10)])

    def __init__(self, data_root: str, split: str = 'train', **kwargs) -> None:
        self.split = check_split(split, ('train', 'val', 'trainval', 'test'))
        super().__init__(data_root=data_root, **kwargs)

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        from scipy.io import loadmat

        name = f'{"test" if self.split == "test" else "train"}_32x32.mat'
        how = 'Get it from http://ufldl.stanford.edu/housenumbers'
        path = need(Path(self.data_root).expanduser() / name, 'SVHN', how)
        try:
            found = loadmat(path)
            images, labels = found['X'].transpose(3, 0, 1, 2), found['y'].reshape(-1) % 10  # 10 is the digit 0
        except Exception as error:  # whatever the reader makes of a damaged file
            raise ValueError(f'{path} cannot be read: truncated, or not of SVHN ({error!r})') from error
        if images.dtype != np.uint8 or images.shape[1:] != (32, 32, 3) or len(images) != len(labels):
            raise ValueError(f'{path} is not of SVHN: X is {images.dtype} {images.shape}, y has {len(labels)} labels')
        rows = range(len(images)) if self.split == 'test' else _of_train(range(len(images)), self.split)
        return images[list(rows)], labels[list(rows)].astype(np.int64)
