"""Data sets for segmentation, which say what is missing and how to get it."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmseg.datasets import ADE20KDataset, BaseSegDataset, PascalContextDataset

from vptx.cache import locate
from vptx.datasets.mini import scenes
from vptx.registry import DATASETS
from vptx.segmentation.annotations import NO_CLASS
from vptx.segmentation.stock import some, suffixes

__all__ = ['ADE20K', 'CustomMasks', 'MiniADE', 'PascalContext']

PHOTOGRAPHS = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
MASKS = ('.bmp', '.gif', '.png', '.tif', '.tiff', '.webp')
LOSSY = ('.jpeg', '.jpg')
_LAYOUT = 'Images lie in images/<split>, their masks, of the same names, in masks/<split>; or give data_prefix'


class Checked:
    """A check before a data set of mmseg that comes as a whole: every mask has an image, too, before anything runs.

    Raises:
        FileNotFoundError: says what is missing, where it was looked for, and how to get it.
    """

    HOW_TO_GET: str

    def load_data_list(self) -> list[dict]:
        items = super().load_data_list()
        if self.ann_file:
            return items
        wanted = {Path(item['seg_map_path']).absolute() for item in items}
        found = set(Path(self.data_prefix['seg_map_path']).absolute().rglob(f'*{self.seg_map_suffix}'))
        if found - wanted:
            raise FileNotFoundError(
                f'{type(self).__name__}: {len(found - wanted)} masks have no image: {some(found - wanted)}. '
                f'{self.HOW_TO_GET}'
            )
        return items


@DATASETS.register_module()
class CustomMasks(BaseSegDataset):
    """Images and masks of your own: ``<data_root>/images/<split>/...`` and ``<data_root>/masks/<split>/...``.

        dict(type='CustomMasks', data_root='discs', split='train', labels={0: 'ground', 255: 'disc'}, pipeline=[...])

    Folders are searched through; an image and its mask have the same name but for the suffix. A mask holds the label of
    each pixel: 0 is the first class, and 255 is no class, unless ``labels`` says otherwise.

    Args:
        data_root: the folder, or ``real://NAME``, what ``make real`` has fetched.
        split: its name in the folder: 'train', 'val', 'test', or any other.
        classes: names in the order of the head.
        metainfo: ``dict(classes=..., palette=...)``, as mmseg has it, in place of ``classes`` and ``palette``.
        palette: an RGB colour for each class; without it they are chosen.
        labels: the class of each label in the files, None for no class: ``{0: None, 1: 'road', 2: 'road', 7: 'car'}``.
            Names the classes, in this order, where ``classes`` does not.
        data_prefix: other folders than ``images/<split>`` and ``masks/<split>``:
            ``dict(img_path='photos', seg_map_path='labels')``. With ``ann_file`` they are images and masks.
        img_suffix: of images, one or several; capitals are all the same.
        seg_map_suffix: of masks, one or several; ``'_mask.png'`` is that of ``1.jpg`` and ``1_mask.png``.
        arguments: of mmseg's BaseSegDataset; ``ann_file`` is a text file with the names of some images, without
            suffixes.

    Raises:
        FileNotFoundError: a folder, images or masks that are not there.
        ValueError: a split without images, two images or masks of one name, masks saved as JPEG, classes or labels that
            do not fit together; also what ``vptx.segmentation.stock`` finds.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        classes: Sequence[str] | str | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        labels: Mapping[int | str, str | None] | None = None,
        metainfo: Mapping[str, Any] | None = None,
        data_prefix: Mapping[str, str] | None = None,
        img_suffix: str | Sequence[str] = PHOTOGRAPHS,
        seg_map_suffix: str | Sequence[str] = MASKS,
        **arguments,
    ) -> None:
        given = {key: value for key, value in (('classes', classes), ('palette', palette)) if value is not None}
        meta = self._load_metainfo({**(metainfo or {}), **given})
        self.labels = None
        if labels is not None:
            meta.setdefault('classes', list(dict.fromkeys(name for name in labels.values() if name is not None)))
            self.labels = _numbered(labels, meta['classes'])
        if not meta.get('classes'):
            raise ValueError(
                "CustomMasks: the classes have no names. Give classes=('ground', 'disc'), in the order of the labels "
                "0, 1, ...; or labels={0: 'ground', 255: 'disc'}, for masks with other labels"
            )
        self.split = split
        part = '' if arguments.get('ann_file') else f'/{split}'
        super().__init__(
            data_root=str(locate(data_root)),
            metainfo=meta,
            data_prefix=dict(data_prefix or dict(img_path=f'images{part}', seg_map_path=f'masks{part}')),
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **arguments,
        )

    def load_data_list(self) -> list[dict]:
        images = self._by_name('img_path', self.img_suffix)
        masks = self._by_name('seg_map_path', self.seg_map_suffix)
        self._check_pairs(images, masks)
        names = self._listed(images) if self.ann_file else sorted(images)
        print_log(
            f"CustomMasks '{self.split}': {len(names)} images with masks in {Path(self.data_root).absolute()}; "
            f'classes: {", ".join(map(str, self.metainfo["classes"]))}',
            'current',
            logging.INFO,
        )
        common = dict(label_map=None, reduce_zero_label=self.reduce_zero_label, labels=self.labels)
        return [
            dict(img_path=str(images[name]), seg_map_path=str(masks[name]), seg_fields=[], **common) for name in names
        ]

    def _by_name(self, key: str, wanted: str | Sequence[str]) -> dict[str, Path]:
        """Name, from the folder on and without its suffix, -> file; hidden files and folders are passed over."""
        folder = Path(self.data_prefix[key]).absolute()
        if not folder.is_dir():
            raise FileNotFoundError(f"CustomMasks' {self.split}: there is no folder {folder}. {_LAYOUT}")
        ends = tuple(suffix.lower() for suffix in ([wanted] if isinstance(wanted, str) else wanted))
        named: dict[str, Path] = {}
        files = _files(folder)
        for path in files:
            end = max((end for end in ends if path.name.lower().endswith(end)), key=len, default=None)
            if end is None:
                continue
            name = path.relative_to(folder).as_posix()[: -len(end)]
            if name in named:
                raise ValueError(
                    f"CustomMasks' {self.split}: {named[name]} and {path.name} have the same name. Which of the two is "
                    'meant? img_suffix and seg_map_suffix choose one'
                )
            named[name] = path
        if not named and key == 'img_path':
            raise ValueError(
                f"CustomMasks' {self.split}: no images in {folder}. Looked for {', '.join(ends)}; there are "
                f'{suffixes(files) or "no files"}. {_LAYOUT}'
            )
        return named

    def _check_pairs(self, images: Mapping[str, Path], masks: Mapping[str, Path]) -> None:
        folder = Path(self.data_prefix['seg_map_path']).absolute()
        alone = [images[name] for name in images.keys() - masks.keys()]
        if alone:
            lossy = [path for path in _files(folder) if path.suffix.lower() in LOSSY]
            ends = [self.seg_map_suffix] if isinstance(self.seg_map_suffix, str) else self.seg_map_suffix
            if not masks and lossy:
                raise ValueError(
                    f"CustomMasks' {self.split}: the masks in {folder} are JPEG files ({some(lossy)}), and JPEG "
                    'changes labels at every edge. Save masks without losses, as PNG, from their source'
                )
            there = suffixes(_files(folder)) or 'no files'
            raise FileNotFoundError(
                f"CustomMasks' {self.split}: {len(alone)} of {len(images)} images have no mask of their name in "
                f'{folder}: {some(alone)}. Looked for names that end in {", ".join(ends)}; there are {there}'
            )
        left = [masks[name] for name in masks.keys() - images.keys()]
        if left:
            raise FileNotFoundError(
                f"CustomMasks' {self.split}: {len(left)} masks have no image of their name in "
                f'{Path(self.data_prefix["img_path"]).absolute()}: {some(left)}'
            )

    def _listed(self, images: Mapping[str, Path]) -> list[str]:
        if not Path(self.ann_file).is_file():
            raise FileNotFoundError(f"CustomMasks' {self.split}: there is no list {Path(self.ann_file).absolute()}")
        names = [line.strip() for line in Path(self.ann_file).read_text(encoding='utf-8-sig').splitlines()]
        names = [name for name in names if name]
        unknown = [name for name in names if name not in images]
        if unknown or not names:
            what = f'names {some(unknown)}, which is no image' if unknown else 'is empty'
            raise ValueError(
                f'CustomMasks: the list {self.ann_file} {what} in {Path(self.data_prefix["img_path"]).absolute()}. '
                'Each line is the name of an image, from this folder on and without its suffix'
            )
        return names


def _files(folder: Path) -> list[Path]:
    """All files below a folder, hidden ones and those in hidden folders left out, links followed."""
    found = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith('.')]
        found += [Path(place, name) for name in names if not name.startswith('.')]
    return sorted(path for path in found if path.is_file())  # no pipes, no links to nothing


def _numbered(labels: Mapping[int | str, str | None], classes: Sequence[str]) -> dict[int, int]:
    """Labels with the numbers of their classes in place of their names."""
    numbers: dict[str | None, int] = {None: NO_CLASS, **{name: number for number, name in enumerate(classes)}}
    try:
        named = {int(label): name for label, name in labels.items()}  # of JSON and the command line they are text
    except ValueError as error:
        raise ValueError(f'CustomMasks: the labels of a mask are numbers, not {list(labels)}: {error}') from error
    if min(named, default=0) < 0 or not {*named.values()} - {None} <= {*classes}:
        raise ValueError(
            f'CustomMasks: labels={dict(labels)} must say of labels from 0 on which of the classes each is, or None: '
            f'{", ".join(map(str, classes))}'
        )
    without = [name for name in classes if name not in named.values()]
    if without:
        raise ValueError(f'CustomMasks: labels={dict(labels)} has no label for {", ".join(without)}')
    return {label: numbers[name] for label, name in named.items()}


@DATASETS.register_module()
class ADE20K(Checked, ADE20KDataset):
    """ADE20K: 150 classes, 20,210 training and 2,000 validation images.

    Source: Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017.

    Args:
        **arguments: of mmseg's ``ADE20KDataset``; the default ``data_root`` is that of the configs.
    """

    HOW_TO_GET = (
        'Download http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip and unpack it in data/ade, so '
        'that images/ and annotations/, each with training/ and validation/, lie in data/ade/ADEChallengeData2016; or '
        'give its place as data_root'
    )


@DATASETS.register_module()
class PascalContext(Checked, PascalContextDataset):
    """PASCAL Context: 59 classes and background, 4,998 training and 5,105 validation images.

    Source: Mottaghi et al., CVPR 2014.

    Args:
        **arguments: of mmseg's ``PascalContextDataset``.
    """

    HOW_TO_GET = (
        'Download PASCAL VOC 2010 and the annotations trainval_merged.json of PASCAL Context, and convert these with '
        "mmsegmentation's tools/dataset_converters/pascal_context.py, so that JPEGImages, SegmentationClassContext and "
        'ImageSets/SegmentationContext lie in data/VOCdevkit/VOC2010; or give its place as data_root'
    )


@DATASETS.register_module()
class MiniADE(Checked, BaseSegDataset):
    """Scenes in the file layout of ADE20K (``vptx.datasets.mini.scenes``): 0 in a mask is no class, 1 the first.

    Args:
        **arguments: of mmseg's ``BaseSegDataset``; ``reduce_zero_label`` is True by default.
    """

    METAINFO = dict(classes=scenes.CLASSES, palette=scenes.PALETTE)
    HOW_TO_GET = 'Write it, in half a minute: vptx make-mini-ade'

    def __init__(self, **arguments) -> None:
        super().__init__(**{'reduce_zero_label': True, **arguments})
