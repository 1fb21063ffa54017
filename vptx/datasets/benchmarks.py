"""VTAB-1k and FGVC, 24 tasks in one table, without TensorFlow.

VTAB-1k: Zhai et al., "A Large-scale Study of Representation Learning with the Visual Task Adaptation Benchmark", 2019,
https://arxiv.org/abs/1910.04867, in the layout in which its images are passed on since Zhang et al. 2022
(https://github.com/ZhangYuanhan-AI/NOAH): a folder for each task, with train800.txt, val200.txt and test.txt, lists of
``path label``. FGVC: five fine-grained data sets of Jia et al. 2022, in the splits that they published as JSON,
``{path: class}``.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from vptx.datasets.image_list import ImageList, Images, need, read_lines
from vptx.files import read_json
from vptx.registry import DATASETS

__all__ = ['BENCHMARKS', 'BenchmarkTask', 'Task']


class Task(NamedTuple):
    """A row of the table.

    Attributes:
        group: 'Natural', 'Specialized' or 'Structured' of VTAB-1k, or 'FGVC'.
        classes: how many.
        sizes: images of the published splits train, val and test.
        images: folder of the images, inside the task's own.
    """

    group: str
    classes: int
    sizes: tuple[int, int, int]
    images: str = ''

    @property
    def suite(self) -> str:
        """``'vtab'`` or ``'fgvc'``"""
        return 'fgvc' if self.group == 'FGVC' else 'vtab'


def _vtab(group: str, classes: int, test: int) -> Task:
    return Task(group, classes, (800, 200, test))


#: By the name of the task's folder, in the order of the papers' tables.
BENCHMARKS = {
    'cifar': _vtab('Natural', 100, 10_000),
    'caltech101': _vtab('Natural', 102, 6_084),
    'dtd': _vtab('Natural', 47, 1_880),
    'oxford_flowers102': _vtab('Natural', 102, 6_149),
    'oxford_iiit_pet': _vtab('Natural', 37, 3_669),
    'svhn': _vtab('Natural', 10, 26_032),
    'sun397': _vtab('Natural', 397, 21_750),
    'patch_camelyon': _vtab('Specialized', 2, 32_768),
    'eurosat': _vtab('Specialized', 10, 5_400),
    'resisc45': _vtab('Specialized', 45, 6_300),
    'diabetic_retinopathy': _vtab('Specialized', 5, 42_670),
    'clevr_count': _vtab('Structured', 8, 15_000),
    'clevr_dist': _vtab('Structured', 6, 15_000),
    'dmlab': _vtab('Structured', 6, 22_735),
    'kitti': _vtab('Structured', 4, 711),
    'dsprites_loc': _vtab('Structured', 16, 73_728),
    'dsprites_ori': _vtab('Structured', 16, 73_728),
    'smallnorb_azi': _vtab('Structured', 18, 12_150),
    'smallnorb_ele': _vtab('Structured', 9, 12_150),
    'CUB': Task('FGVC', 200, (5_394, 600, 5_794), 'images'),
    'nabirds': Task('FGVC', 555, (21_536, 2_393, 24_633), 'images'),
    'OxfordFlowers': Task('FGVC', 102, (1_020, 1_020, 6_149)),
    'StanfordDogs': Task('FGVC', 120, (10_800, 1_200, 8_580), 'Images'),
    'StanfordCars': Task('FGVC', 196, (7_329, 815, 8_041)),
}

_LISTS = dict(train='train800.txt', val='val200.txt', test='test.txt')
_HOW_TO_GET = dict(
    vtab='Get the folder vtab-1k by the links of https://github.com/ZhangYuanhan-AI/NOAH (data preparation), and put '
    'it there: a folder for each task, each with images/, train800.txt, val200.txt and test.txt',
    fgvc="Get the images from the data set's own page and train.json, val.json and test.json, {path: class}, by the "
    'links of https://github.com/KMnP/vpt (data preparation), and put them into the folder of the task',
)


def _is_number(value: Any) -> bool:
    """Of a class; some lists have it as text."""
    return type(value) is int or (isinstance(value, str) and value.isdecimal())


@DATASETS.register_module()
class BenchmarkTask(ImageList):
    """A task of VTAB-1k or of FGVC.

    Source: Zhai et al. (VTAB), 2019, https://arxiv.org/abs/1910.04867.

    Args:
        data_root: folder of the suite; the task's own lies in it.
        task: a name in ``BENCHMARKS``, which is that of its folder.
        split: 'train' (800 images in VTAB-1k), 'val' (200), 'trainval' (1,000), 'test'.
        kwargs: of ``ImageList``.
    """

    def __init__(self, data_root: str, task: str, split: str = 'train', **kwargs) -> None:
        if task not in BENCHMARKS:
            raise ValueError(f"there is no task '{task}'. There are: {', '.join(BENCHMARKS)}")
        self.task = BENCHMARKS[task]
        super().__init__(str(Path(data_root) / task), split, **kwargs)

    def class_names(self, root: Path) -> Sequence[str]:
        return [str(label) for label in range(self.task.classes)]

    def read(self, root: Path, split: str) -> Images:
        images = self._read_list(root, split) if self.task.suite == 'vtab' else self._read_json(root, split)
        published = dict(zip(('train', 'val', 'test'), self.task.sizes, strict=True))[split]
        if len(images) != published:
            print_log(
                f'{root} has {len(images)} images in {split}, {published} were published', 'current', logging.WARNING
            )
        return images

    def _read_list(self, root: Path, split: str) -> Images:
        path = need(root / _LISTS[split], f"VTAB-1k's {root.name}", _HOW_TO_GET['vtab'])
        images = []
        for number, line in read_lines(path):
            name, _, label = line.rpartition(' ')
            if not name or not label.isdecimal() or int(label) >= self.task.classes:
                raise ValueError(
                    f"{path}, line {number}: '{line}' is no image and class from 0 to {self.task.classes - 1}"
                )
            images.append((root / name.strip(), int(label)))
        if not images:
            raise ValueError(f'{path} names no images')
        return images

    def _read_json(self, root: Path, split: str) -> Images:
        # Labels number the classes of what may be trained on: the same in every split.
        classes = sorted({c for part in ('train', 'val') for c in self._entries(root, part).values()})
        if len(classes) > self.task.classes:
            raise ValueError(f'{root} has {len(classes)} classes in train.json and val.json, not {self.task.classes}')
        number = {found: label for label, found in enumerate(classes)}
        entries = self._entries(root, split)
        unknown = sorted({found for found in entries.values() if found not in number})
        if unknown:
            raise ValueError(f'{root / split}.json has images of class {unknown[0]}, which nothing can be learnt of')
        return [(root / self.task.images / name, number[found]) for name, found in entries.items()]

    @staticmethod
    def _entries(root: Path, split: str) -> dict[str, int]:
        path = need(root / f'{split}.json', f"FGVC's {root.name}", _HOW_TO_GET['fgvc'])
        found = read_json(path)
        if not isinstance(found, dict) or not found or not all(map(_is_number, found.values())):
            raise ValueError(f'{path} is no split of FGVC: expected a JSON object {{path: class}}, classes by number')
        return {name: int(number) for name, number in found.items()}
