"""mmseg's loading of masks, which says what is wrong with a mask, and which file it is."""

from typing import Any

import mmcv
import numpy as np
from mmengine import fileio
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

from vptx.segmentation.orientation import read_header, turn

__all__ = ['NO_CLASS', 'CheckedLoadAnnotations']

NO_CLASS = 255  # in a loaded mask


@TRANSFORMS.register_module(name='LoadAnnotations', force=True)
class CheckedLoadAnnotations(LoadAnnotations):
    """mmseg's ``LoadAnnotations``, under the same name, so that its configs and inferencers find this one.

    A mask belongs to the stored pixels of its image. If the image is turned by its orientation tag when it is loaded,
    the mask is turned in the same way; if the tag is ignored (``color_type='color_ignore_orientation'``), it is not.

    Args:
        drawn_on: ``'stored'``, or ``'displayed'`` for masks that were drawn on images which the orientation tag had
            turned already, as many annotation programs do.
        *arguments, **options: of mmseg's ``LoadAnnotations``.

    Raises:
        ValueError: names a mask that cannot be read, is saved with losses, is no map of labels, is not of its image's
            size, or holds a label that is none of the data set's classes.
    """

    def __init__(self, *arguments, drawn_on: str = 'stored', **options) -> None:
        super().__init__(*arguments, **options)
        if drawn_on not in ('stored', 'displayed'):
            raise ValueError(f"LoadAnnotations: drawn_on must be 'stored' or 'displayed', not {drawn_on!r}")
        self.drawn_on = drawn_on

    def _load_seg_map(self, results: dict) -> None:
        path = results['seg_map_path']
        stored = self._read(path)
        mask, reason = self._as_loaded(stored, results)
        size = tuple(results.get('ori_shape', mask.shape))
        if mask.shape != size:
            size = size if mask.shape == stored.shape else size[::-1]  # both as in their files
            raise ValueError(
                f'{path} has {stored.shape[0]} x {stored.shape[1]} pixels, its image {results["img_path"]} has '
                f'{size[0]} x {size[1]}{reason}'
            )
        results['gt_seg_map'] = self._to_classes(mask, results)
        results['seg_fields'].append('gt_seg_map')

    def _read(self, path: str) -> np.ndarray:
        """The labels (H, W) in a file, integers of any size."""
        try:
            content = fileio.get(path, backend_args=self.backend_args)
            mask = mmcv.imfrombytes(content, flag='unchanged', backend=self.imdecode_backend)
            shape = mask.shape
        except Exception as error:  # whatever the decoder makes of an empty file or of half a mask
            raise ValueError(f'{path} cannot be read as a mask: {error}') from error
        if content.startswith(b'\xff\xd8'):
            raise ValueError(
                f'{path} is a JPEG file, and JPEG changes labels at every edge. Save masks without losses, as PNG, '
                'from their source: converting this file does not bring the labels back'
            )
        if mask.ndim == 3 and shape[2] == 1:
            mask = mask[..., 0]
        if mask.ndim != 2:
            raise ValueError(
                f'{path} is no mask: a map of labels has one channel, this has the shape {shape}. Save the labels '
                'themselves, not their colours'
            )
        if mask.dtype.kind == 'f':
            if not np.array_equal(mask, mask.round()):
                raise ValueError(f'{path} is no mask: labels are whole numbers, these are fractions')
            return mask.astype(np.int64)
        return mask.astype(np.uint8) if mask.dtype == bool else mask

    def _as_loaded(self, mask: np.ndarray, results: dict[str, Any]) -> tuple[np.ndarray, str]:
        """The mask, turned as its image is, and what an orientation tag has to do with a size that does not fit."""
        header = read_header(results.get('img_path'))
        if header is None or header.tag == 1:
            return mask, ''
        turned = header.always or results.get('turned', True)
        if self.drawn_on == 'stored':
            other = "the image as displayed, give LoadAnnotations drawn_on='displayed'"
        elif turned:
            other = "the stored pixels, leave LoadAnnotations' drawn_on='displayed' out"
        else:
            raise ValueError(
                f'{results["img_path"]} has the orientation tag {header.tag}, which its loading ignores, and '
                "drawn_on='displayed' says that its mask was drawn with the tag applied: leave "
                "color_type='color_ignore_orientation' out of LoadImageFromFile"
            )
        reason = (
            f'. The image has the orientation tag {header.tag}, and masks are expected on the '
            f'{"pixels as stored" if self.drawn_on == "stored" else "image as displayed"}. If this one was drawn on '
            f'{other}; or save the images with their orientation applied'
        )
        return turn(mask, header.tag) if turned and self.drawn_on == 'stored' else mask, reason

    def _to_classes(self, mask: np.ndarray, results: dict[str, Any]) -> np.ndarray:
        """Labels of a file -> classes from 0, or ``NO_CLASS``; (H, W), uint8."""
        offset = results.get('reduce_zero_label', False)
        if self.reduce_zero_label is not None and self.reduce_zero_label != offset:
            raise ValueError(
                f'LoadAnnotations has reduce_zero_label={self.reduce_zero_label}, the data set has {offset}: give '
                'it to the data set alone'
            )
        meanings = _meanings(results)
        table = np.full(max(256, *meanings) + 1, -1)
        table[list(meanings)] = list(meanings.values())
        found = np.unique(mask)
        known = found[(found >= 0) & (found < len(table))]
        if len(known) < len(found) or (table[known] < 0).any():
            wrong = sorted(set(found.tolist()) - set(known[table[known] >= 0].tolist()))
            raise ValueError(f'{results["seg_map_path"]} {_wrong_labels(found.tolist(), wrong, meanings, results)}')
        return table[mask].astype(np.uint8)


def _meanings(results: dict[str, Any]) -> dict[int, int]:
    """The class of each label that a mask may hold."""
    given = results.get('labels')  # of CustomMasks
    if given:
        return {NO_CLASS: NO_CLASS, **given}
    offset = int(bool(results.get('reduce_zero_label')))
    classes = results.get('classes')
    numbers = range(len(classes) if classes else NO_CLASS - offset)
    # mmseg numbers the classes of a subset again, by label_map.
    classes_of = {**{number: number for number in numbers}, **(results.get('label_map') or {})}
    ignored = results.get('ignore_index', NO_CLASS)
    return {
        **{number + offset: new for number, new in classes_of.items()},
        **({0: NO_CLASS} if offset else {}),
        ignored: ignored,
        NO_CLASS: NO_CLASS,
    }


def _wrong_labels(found: list[int], wrong: list[int], meanings: dict[int, int], results: dict[str, Any]) -> str:
    """What is wrong, what was expected, what to do."""
    right = sorted(label for label, new in meanings.items() if new != NO_CLASS)
    number = len({new for new in meanings.values() if new != NO_CLASS})
    none = sorted(label for label, new in meanings.items() if new == NO_CLASS)
    classes = results.get('classes') or ()
    names = f' ({", ".join(map(str, classes))})' if 0 < len(classes) <= 8 else ''
    real = [label for label in found if label != NO_CLASS]
    if len(real) == len(classes) <= 8:
        example = ', '.join(f'{label}: {str(name)!r}' for label, name in zip(real, classes))
    else:
        example = f"{wrong[0]}: 'name of its class' or None for no class, ..."
    return (
        f'holds labels that are no classes: {_some(wrong)} (all of its labels: {_some(found)}). The {number} classes'
        f'{names} are {_ranges(right)}; no class is {_ranges(none)}. If these labels are meant, say which '
        f'class each of them is, by labels={{{example}}} of the data set CustomMasks'
    )


def _some(labels: list[int], most: int = 10) -> str:
    return ', '.join(map(str, labels[:most])) + (f' and {len(labels) - most} more' if len(labels) > most else '')


def _ranges(labels: list[int]) -> str:
    """[0, 1, 2, 255] -> '0 to 2, 255'."""
    begins = [label for label in labels if label - 1 not in labels]
    ends = [label for label in labels if label + 1 not in labels]
    return ', '.join(str(begin) if begin == end else f'{begin} to {end}' for begin, end in zip(begins, ends))
