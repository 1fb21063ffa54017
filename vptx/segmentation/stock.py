"""What is checked of every data set of mmsegmentation, its own or those of vptx; added to ``BaseSegDataset`` on import.

When it is made: names of classes and colours, whether all files are there, and ``SAMPLE`` masks, evenly chosen,
read from beginning to end: a run ends before its first iteration, and a data set of any size is checked in seconds. All
other masks are checked when they are read.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from vptx.segmentation.annotations import NO_CLASS, CheckedLoadAnnotations
from vptx.segmentation.colours import colours
from vptx.segmentation.orientation import read_header

__all__ = ['SAMPLE', 'some', 'suffixes']

SAMPLE = 20


def some(paths: Iterable[Path | str], most: int = 3) -> str:
    """The first few of some paths."""
    listed = sorted(map(str, paths))
    return ', '.join(listed[:most]) + (f' and {len(listed) - most} more' if len(listed) > most else '')


def suffixes(paths: Iterable[Path]) -> str:
    """How many files have which suffix."""
    counts = Counter(path.suffix or 'without a suffix' for path in paths if not path.name.startswith('.'))
    return ', '.join(f'{number} {suffix}' for suffix, number in sorted(counts.items()))


def _check_classes(data: BaseSegDataset) -> None:
    """Raises ValueError: names of classes that are none, are there twice, or leave nothing to learn; bad colours."""
    name, meta = type(data).__name__, data.metainfo
    classes, palette = meta.get('classes'), meta.get('palette')
    if classes is None:
        return
    if isinstance(classes, str):
        raise ValueError(
            f'{name}: classes is the text {classes!r}, and there is no file of this name with a class on each line. '
            f"Give a list of names; in round brackets a single one needs a comma: classes=('{classes}',)"
        )
    if len(classes) == 1:
        raise ValueError(
            f'{name}: one class, {classes[0]!r}, leaves nothing to learn: every pixel is of it, and the score is 100. '
            f'Name what is not {classes[0]!r} as a class too, as in classes=({"background"!r}, {classes[0]!r}), with '
            'num_classes=2'
        )
    twice = [each for each, number in Counter(classes).items() if number > 1]
    if twice:
        raise ValueError(f'{name}: the class {twice[0]!r} is there twice in classes={list(classes)}')
    try:
        right = np.shape(palette) == (len(classes), 3) and all(0 <= part <= 255 for part in np.ravel(palette))
    except (TypeError, ValueError):  # ragged, or not numbers
        right = False
    if not right:
        raise ValueError(f'{name}: palette must have three numbers from 0 to 255 for each class, not {palette}')


def _check_files(data: BaseSegDataset, items: Sequence[dict]) -> None:
    """Raises ValueError: no images (says which files there are). FileNotFoundError: names those that are not there."""
    name, how = type(data).__name__, getattr(data, 'HOW_TO_GET', '')
    images = Path(data.data_prefix['img_path'] or '').absolute()
    if not items:
        looked = f'listed in {data.ann_file}' if data.ann_file else f'no {data.img_suffix} in {images}'
        files = [path for path in images.rglob('*') if path.is_file() and path.suffix]
        usual = Counter(path.suffix for path in files).most_common(1)
        hint = f"; there are {suffixes(files)}: img_suffix='{usual[0][0]}' of the data set reads these" if usual else ''
        raise ValueError(f'{name}: no images, {looked}{hint}. {how}'.strip())
    for key, what in (('img_path', 'images are not there'), ('seg_map_path', 'images have no mask')):
        wanted = {Path(item[key]).absolute() for item in items if item.get(key)}
        if not wanted or (key == 'img_path' and not data.ann_file):
            continue  # found by looking into the folder
        found = set(Path(data.data_prefix[key]).absolute().rglob('*'))
        missing = [path for path in wanted - found if not path.is_file()]  # through a link, perhaps
        if missing:
            raise FileNotFoundError(f'{name}: {len(missing)} of {len(items)} {what}: no {some(missing)}. {how}'.strip())


def _load_data_list(load: Callable[[BaseSegDataset], list[dict]]) -> Callable[[BaseSegDataset], list[dict]]:
    @wraps(load)
    def load_data_list(self: BaseSegDataset) -> list[dict]:
        if self.backend_args:  # not on this machine
            return load(self)
        for place in (*map(self.data_prefix.get, ('img_path', 'seg_map_path')), self.ann_file):
            if place and not Path(place).exists():
                name, how = type(self).__name__, getattr(self, 'HOW_TO_GET', '')
                raise FileNotFoundError(f'no {name}: there is no {Path(place).absolute()}. {how}'.strip())
        items = load(self)
        _check_files(self, items)
        return items

    return load_data_list


def _full_init(init: Callable[[BaseSegDataset], None]) -> Callable[[BaseSegDataset], None]:
    @wraps(init)
    def full_init(self: BaseSegDataset) -> None:
        if self._fully_initialized:
            return
        _check_classes(self)
        init(self)
        _look_at_some(self)

    return full_init


def _loader(data: BaseSegDataset) -> CheckedLoadAnnotations | None:
    """What loads the masks of a data set, if it has any."""
    found = [step for step in data.pipeline.transforms if isinstance(step, CheckedLoadAnnotations)]
    return found[0] if found and len(data) and not data.backend_args else None


def _classes_in(data: BaseSegDataset, loader: CheckedLoadAnnotations, index: int) -> tuple[set[int], bool]:
    """The classes in a mask, 255 among them, and whether its image has an orientation tag; no image is decoded."""
    results = data.get_data_info(index)
    if not results.get('seg_map_path'):
        return set(), False
    header = read_header(results['img_path'])
    if header is not None:  # else the config's own loader may know what it is
        turned = header.tag > 4 and (header.always or results['turned'])
        results['ori_shape'] = header.size[::-1] if turned else header.size
    tagged = header is not None and header.tag > 1
    return set(np.unique(loader.transform(results)['gt_seg_map']).tolist()), tagged


def _look_at_some(data: BaseSegDataset) -> None:
    """Read masks before the run, as it will read them.

    Raises:
        ValueError: names a mask that is wrong.
    """
    loader = _loader(data)
    if loader is None:
        return
    chosen = np.unique(np.linspace(0, len(data) - 1, min(SAMPLE, len(data)), dtype=int))
    tagged = sum(_classes_in(data, loader, int(index))[1] for index in chosen)
    if tagged:
        print_log(
            f'{type(data).__name__}: {tagged} of the {len(chosen)} images that were looked at have an orientation tag. '
            f'Their masks are taken as drawn on the image as {loader.drawn_on} (drawn_on of LoadAnnotations). If they '
            f'were drawn on it as {"displayed" if loader.drawn_on == "stored" else "stored"}, a half turn goes '
            'unnoticed: look at some of them',
            'current',
            logging.WARNING,
        )


def _check_learnable(self: BaseSegDataset) -> None:
    """Refuse to train where all masks together hold one class; masks are read until there are two.

    Raises:
        ValueError: says which labels there are, and how to make them classes.
    """
    loader, classes = _loader(self), self.metainfo.get('classes')
    if loader is None or not classes:
        return
    seen: set[int] = set()
    for index in range(len(self)):
        seen |= _classes_in(self, loader, index)[0]
        if len(seen - {NO_CLASS}) > 1:
            return
    held = ' and '.join(repr(classes[number]) for number in seen - {NO_CLASS}) or 'no class'
    void = f', and the label {NO_CLASS}, which means no class' if NO_CLASS in seen else ''
    hint = 'Are the masks those of these images?'
    if NO_CLASS in seen and len(seen) == len(classes) == 2:
        (first,) = seen - {NO_CLASS}
        labels = {first + int(self.reduce_zero_label): classes[first], NO_CLASS: classes[1 - first]}
        hint = (
            f'If {NO_CLASS} is {classes[1 - first]!r} in your files, use the data set CustomMasks with labels={labels}'
        )
    raise ValueError(
        f'{type(self).__name__} {self.data_root or ""}: its {len(self)} masks hold {held}{void}. There is nothing to '
        f'learn, and a score of 100 would mean nothing. {hint}'
    )


def _turns(data: BaseSegDataset) -> bool:
    """Whether orientation tags are applied when an image is loaded."""
    for step in data.pipeline.transforms:
        if isinstance(step, LoadImageFromFile):
            return step.color_type in ('color', 'grayscale') and step.imdecode_backend in ('cv2', 'pillow')
    return False


def _get_data_info(get: Callable[[BaseSegDataset, int], dict]) -> Callable[[BaseSegDataset, int], dict]:
    @wraps(get)
    def get_data_info(self: BaseSegDataset, idx: int) -> dict[str, Any]:
        facts = dict(classes=self.metainfo.get('classes'), ignore_index=self.ignore_index, turned=_turns(self))
        return {**get(self, idx), **facts}

    return get_data_info


def _update_palette(update: Callable[[BaseSegDataset], Sequence]) -> Callable[[BaseSegDataset], Sequence]:
    @wraps(update)
    def update_palette(self: BaseSegDataset) -> Sequence:
        if self._metainfo.get('palette'):
            return update(self)
        return colours(len(self._metainfo.get('classes') or ()))  # as predictions have them, too

    return update_palette


BaseSegDataset.load_data_list = _load_data_list(BaseSegDataset.load_data_list)
BaseSegDataset.full_init = _full_init(BaseSegDataset.full_init)
BaseSegDataset.get_data_info = _get_data_info(BaseSegDataset.get_data_info)
BaseSegDataset._update_palette = _update_palette(BaseSegDataset._update_palette)
BaseSegDataset.check_learnable = _check_learnable
