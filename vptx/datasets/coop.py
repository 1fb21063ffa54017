"""The 11 data sets of CoOp and four other test sets of ImageNet's classes: images, class names and templates.

Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, https://arxiv.org/abs/2109.01134. Folders,
splits, names and templates are those of https://github.com/KaiyangZhou/CoOp (DATASETS.md). Three layouts: nine data
sets have ``split_zhou_<Name>.json``, ``{split: [[path, label, class name], ...]}``, FGVC-Aircraft has the lists of its
authors, and ImageNets have folders and ``classnames.txt``, lines of ``n01440764 tench``.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from vptx.datasets.arrays import check_split
from vptx.datasets.image_list import ImageList, Images, need, read_lines
from vptx.files import read_json
from vptx.image_files import SUFFIXES, is_hidden
from vptx.registry import DATASETS

__all__ = ['COOP', 'CoOpTask', 'NamedTask', 'number_of_base']

PARTS = ('all', 'base', 'new')
EVERY = 10  # that many-th training image of each class is val, where none was published


class NamedTask(NamedTuple):
    """A row of the table.

    Attributes:
        group: over whose data sets papers give a mean; that of transfer from ImageNet leaves ImageNet out.
        folder: of the data set, in the folder of all.
        images: folder of the images, inside its own.
        listed: the file that lists images, or classes.
        classes: how many.
        sizes: images of the published splits train, val and test; 0 for a split that was not published.
        template: the sentence about a class from which zero-shot CLIP makes its classifier.
        renamed: class names of the images' folders -> those of the published splits.
        numbered: whether the folders of its classes have numbers, 0 to 999, for names.
    """

    group: str
    folder: str
    images: str
    listed: str
    classes: int
    sizes: tuple[int, int, int]
    template: str = 'a photo of a {}.'
    renamed: Mapping[str, str] = {}
    numbered: bool = False

    @property
    def suite(self) -> str:
        """``'coop'`` or ``'imagenet_shift'``"""
        return 'imagenet_shift' if self.group == 'ImageNet shift' else 'coop'


def _coop(folder: str, images: str, listed: str, classes: int, sizes: tuple[int, int, int], **other: Any) -> NamedTask:
    return NamedTask('Other ten', folder, images, listed, classes, sizes, **other)


def _shift(folder: str, images: str, classes: int, size: int, **other: Any) -> NamedTask:
    return NamedTask('ImageNet shift', folder, images, 'classnames.txt', classes, (0, 0, size), **other)


_CALTECH = dict(airplanes='airplane', Faces='face', Leopards='leopard', Motorbikes='motorbike')
_EUROSAT = dict(
    AnnualCrop='Annual Crop Land',
    HerbaceousVegetation='Herbaceous Vegetation Land',
    Highway='Highway or Road',
    Industrial='Industrial Buildings',
    Pasture='Pasture Land',
    PermanentCrop='Permanent Crop Land',
    Residential='Residential Buildings',
    SeaLake='Sea or Lake',
)

#: In the order of the papers' tables. Prefixed, since VTAB-1k and FGVC have other splits of some under the same names.
COOP = {
    'coop_imagenet': NamedTask('ImageNet', 'imagenet', 'images', 'classnames.txt', 1000, (1_281_167, 0, 50_000)),
    'coop_caltech101': _coop(
        'caltech-101',
        '101_ObjectCategories',
        'split_zhou_Caltech101.json',
        100,
        (4_128, 1_649, 2_465),
        renamed=_CALTECH,
    ),
    'coop_oxford_pets': _coop(
        'oxford_pets',
        'images',
        'split_zhou_OxfordPets.json',
        37,
        (2_944, 736, 3_669),
        template='a photo of a {}, a type of pet.',
    ),
    'coop_stanford_cars': _coop('stanford_cars', '', 'split_zhou_StanfordCars.json', 196, (6_509, 1_635, 8_041)),
    'coop_oxford_flowers': _coop(
        'oxford_flowers',
        'jpg',
        'split_zhou_OxfordFlowers.json',
        102,
        (4_093, 1_633, 2_463),
        template='a photo of a {}, a type of flower.',
    ),
    'coop_food101': _coop(
        'food-101',
        'images',
        'split_zhou_Food101.json',
        101,
        (50_500, 20_200, 30_300),
        template='a photo of {}, a type of food.',
    ),
    'coop_fgvc_aircraft': _coop(
        'fgvc_aircraft',
        'images',
        'variants.txt',
        100,
        (3_334, 3_333, 3_333),
        template='a photo of a {}, a type of aircraft.',
    ),
    'coop_sun397': _coop('sun397', 'SUN397', 'split_zhou_SUN397.json', 397, (15_880, 3_970, 19_850)),
    'coop_dtd': _coop(
        'dtd',
        'images',
        'split_zhou_DescribableTextures.json',
        47,
        (2_820, 1_128, 1_692),
        template='{} texture.',
    ),
    'coop_eurosat': _coop(
        'eurosat',
        '2750',
        'split_zhou_EuroSAT.json',
        10,
        (13_500, 5_400, 8_100),
        template='a centered satellite photo of {}.',
        renamed=_EUROSAT,
    ),
    'coop_ucf101': _coop(
        'ucf101',
        'UCF-101-midframes',
        'split_zhou_UCF101.json',
        101,
        (7_639, 1_898, 3_783),
        template='a photo of a person doing {}.',
    ),
    'imagenet_v2': _shift('imagenetv2', 'imagenetv2-matched-frequency-format-val', 1000, 10_000, numbered=True),
    'imagenet_sketch': _shift('imagenet-sketch', 'images', 1000, 50_889),
    'imagenet_a': _shift('imagenet-adversarial', 'imagenet-a', 200, 7_500),
    'imagenet_r': _shift('imagenet-rendition', 'imagenet-r', 200, 30_000),
}

_HOW_TO_GET = (
    'Get images and lists by the links of https://github.com/KaiyangZhou/CoOp (DATASETS.md), and put them there: a '
    'folder for each data set'
)


def number_of_base(classes: int) -> int:
    """How many of the classes are base: the first half of the labels, rounded up; the others are new."""
    return ceil(classes / 2)


@DATASETS.register_module()
class CoOpTask(ImageList):
    """A data set of CoOp's papers, or a test set of ImageNet's classes, with the names of its classes.

    The images of a split are sorted by path, so that few-shot subsets do not depend on the order of a file or a folder.
    ``metainfo`` holds ``classes`` and ``template``. The four other ImageNets have a test split only, and the names of
    the classes that they show: 200 in A and in R.

    No validation images of ImageNet were published, and the public code takes the test images. Here every tenth
    training image of each class is held out.

    Source: Zhou et al. (CoOp), IJCV 2022, https://arxiv.org/abs/2109.01134.

    Args:
        data_root: folder of all data sets.
        task: a name in ``COOP``.
        split: 'train', 'val', 'trainval' or 'test'.
        part: 'all', or the images of the 'base' or of the 'new' classes. Labels of new classes begin at 0 again.
        subset: of ``ImageList``; the images drawn of a class do not depend on ``part``.
        kwargs: of ``ImageList``.

    Raises:
        FileNotFoundError: of ``ImageList``.
        ValueError: an unknown task or part; a split that was not published; a list whose labels are not 0 to C - 1,
            with one name each; a folder of no class, or a class without a folder.
    """

    def __init__(self, data_root: str, task: str, split: str = 'train', part: str = 'all', **kwargs) -> None:
        if task not in COOP:
            raise ValueError(f"there is no task '{task}'. There are: {', '.join(COOP)}")
        if part not in PARTS:
            raise ValueError(f'part must be one of {", ".join(map(repr, PARTS))}, got {part!r}')
        self.task, self.part = COOP[task], part
        if not self.task.sizes[0] and check_split(split, self.SPLITS) != 'test':
            raise ValueError(f"{task} has a test split only, no '{split}'")
        super().__init__(str(Path(data_root).expanduser() / self.task.folder), split, **kwargs)
        self._metainfo.setdefault('template', self.task.template)

    def class_names(self, root: Path) -> Sequence[str]:
        names, _ = _reader(self.task)(root, self.task, '')
        return names[self._cut]

    def read(self, root: Path, split: str) -> Images:
        _, images = _reader(self.task)(root, self.task, split)
        return sorted(images)

    def load_data_list(self) -> list[dict]:
        labels = range(self.task.classes)[self._cut]
        if len(self.metainfo['classes']) != len(labels):
            raise ValueError(
                f'{Path(self.data_root).absolute()} has {len(labels)} classes ({self.part}), and classes=[...] of this '
                f'data set has {len(self.metainfo["classes"])} names: give as many, in the order of the labels'
            )
        # Cut after a subset is drawn: shots of a class are the same whatever the part.
        items = [item for item in super().load_data_list() if item['gt_label'] in labels]
        return [dict(item, gt_label=item['gt_label'] - labels.start) for item in items]

    @property
    def _cut(self) -> slice:
        """Which of the labels this part has."""
        base = number_of_base(self.task.classes)
        return dict(all=slice(None), base=slice(base), new=slice(base, None))[self.part]


#: Root, task, split ('' for none) -> names of the classes, images of the split.
Reader = Callable[[Path, NamedTask, str], tuple[list[str], Images]]


def _reader(task: NamedTask) -> Reader:
    if task.listed.endswith('.json'):
        return _read_json
    return _read_variants if task.listed == 'variants.txt' else _read_folders


def _check_size(root: Path, task: NamedTask, split: str, images: Images) -> Images:
    published = dict(zip(('train', 'val', 'test'), task.sizes, strict=True))[split]
    if len(images) != published:
        print_log(f'{root} has {len(images)} images in {split}, {published} were published', 'current', logging.WARNING)
    return images


def _read_json(root: Path, task: NamedTask, split: str) -> tuple[list[str], Images]:
    path = need(root / task.listed, f"CoOp's {root.name}", _HOW_TO_GET)
    found = read_json(path)
    if not isinstance(found, dict) or not all(isinstance(found.get(part), list) for part in ('train', 'val', 'test')):
        raise ValueError(f'{path} is no split of CoOp: expected a JSON object of the lists train, val and test')
    names: dict[int, str] = {}
    for part in ('train', 'val', 'test'):
        for number, entry in enumerate(found[part]):
            if not isinstance(entry, list) or [type(x) for x in entry] != [str, int, str] or not entry[2].strip():
                raise ValueError(f'{path}, {part}, entry {number}: expected [path, label, class name], not {entry!r}')
            name = names.setdefault(entry[1], entry[2])
            if name != entry[2]:
                raise ValueError(
                    f"{path}, {part}, entry {number}: label {entry[1]} is '{entry[2]}' here and '{name}' in an earlier "
                    'entry. Each label must have one name'
                )
    _check_labels(path, task, set(names), '')
    _check_labels(path, task, {label for _, label, _ in found['train']}, ' of train')
    images = [(root / task.images / name, label) for name, label, _ in found[split]] if split else []
    if split:
        _check_size(root, task, split, images)
    return [_plain(task, names[label]) for label in sorted(names)], images


def _check_labels(path: Path, task: NamedTask, labels: set[int], where: str) -> None:
    """Refuse labels that are not 0 to C - 1: names would shift."""
    lacking, strange = sorted(set(range(task.classes)) - labels), sorted(labels - set(range(task.classes)))
    if lacking or strange:
        what = [f'no image of label {_some(lacking)}'] * bool(lacking) + [f'label {_some(strange)}'] * bool(strange)
        raise ValueError(
            f'{path}: the labels{where} have {len(labels)} names for {task.classes} classes: there is '
            f'{" and ".join(what)}. Expected the published list, with every label from 0 to {task.classes - 1}'
        )


def _plain(task: NamedTask, name: str) -> str:
    return task.renamed.get(name, name).replace('_', ' ').strip()


def _some(found: Sequence[Any]) -> str:
    return ', '.join(map(str, found[:5])) + (f' and {len(found) - 5} more' if len(found) > 5 else '')


def _read_variants(root: Path, task: NamedTask, split: str) -> tuple[list[str], Images]:
    path = need(root / task.listed, f"CoOp's {root.name}", _HOW_TO_GET)
    names = [name for _, name in read_lines(path)]
    if len(set(names)) != task.classes:
        raise ValueError(f'{path} has {len(set(names))} names for {task.classes} classes')
    images: Images = []
    if split:
        path = need(root / f'images_variant_{split}.txt', f"CoOp's {root.name}", _HOW_TO_GET)
        label = {name: i for i, name in enumerate(names)}
        for number, line in read_lines(path):
            image, _, name = line.partition(' ')
            if name.strip() not in label:
                raise ValueError(f"{path}, line {number}: '{line}' is no image and name in {task.listed}")
            images.append((root / task.images / f'{image}.jpg', label[name.strip()]))
        _check_size(root, task, split, images)
    return [_plain(task, name) for name in names], images


def _read_folders(root: Path, task: NamedTask, split: str) -> tuple[list[str], Images]:
    classes = _read_class_names(root, task)
    folder = root / task.images / (('val' if split == 'test' else 'train') if task.sizes[0] else '')
    by_folder = {str(i) if task.numbered else name: plain for i, (name, plain) in enumerate(classes.items())}
    if split or task.classes < len(by_folder):
        by_folder = _check_folders(need(folder, f"CoOp's {root.name}", _HOW_TO_GET), task, by_folder)
    if not split:
        return list(by_folder.values()), []
    found = [
        (folder / name / image, label)
        for label, name in enumerate(by_folder)
        for image in sorted(os.listdir(folder / name))
        if not is_hidden(Path(image)) and Path(image).suffix.lower() in SUFFIXES
    ]
    _check_size(root, task, 'test' if split == 'test' else 'train', found)
    if split == 'test':
        return list(by_folder.values()), found
    place: dict[int, int] = {}
    images: Images = []
    for path, label in found:
        place[label] = place.get(label, -1) + 1
        if (place[label] % EVERY == EVERY // 2) == (split == 'val'):
            images.append((path, label))
    return list(by_folder.values()), images


def _read_class_names(root: Path, task: NamedTask) -> dict[str, str]:
    """Folder -> name of the 1,000 classes, in the order of the folders' names."""
    path = root / task.listed
    if not path.is_file():  # the public code has a copy in each folder
        path = need(root.parent / 'imagenet' / task.listed, f"CoOp's {root.name}", _HOW_TO_GET)
    named: dict[str, str] = {}
    for number, line in read_lines(path):
        folder, _, name = line.partition(' ')
        if not name.strip() or folder in named:
            raise ValueError(f"{path}, line {number}: '{line}' is no folder with a name, or the folder's second name")
        named[folder] = _plain(task, name)
    if len(named) != COOP['coop_imagenet'].classes:
        raise ValueError(
            f'{path} has {len(named)} names for {COOP["coop_imagenet"].classes} labels: with some missing, names would '
            'shift. Expected a line for each class: n01440764 tench'
        )
    return dict(sorted(named.items()))


def _check_folders(folder: Path, task: NamedTask, names: dict[str, str]) -> dict[str, str]:
    """Those of the classes that have a folder.

    Raises:
        ValueError: a folder of no class, or not as many classes as were published.
    """
    there = {entry.name for entry in os.scandir(folder) if entry.is_dir() and not is_hidden(Path(entry.name))}
    strange, lacking = sorted(there - names.keys()), [name for name in names if name not in there]
    if strange:
        raise ValueError(f'{folder} has folders of no class in {task.listed}: {_some(strange)}')
    if len(there) != task.classes:
        raise ValueError(
            f'{folder} has folders of {len(there)} classes, {task.classes} were published; there is none of '
            f'{_some(lacking)}. Without it the labels of others would shift'
        )
    return {name: plain for name, plain in names.items() if name in there}
