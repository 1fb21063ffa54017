"""mmseg's loading of masks, which says what is wrong with a mask, and which file it is."""

from typing import Any

import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS

__all__ = ['CheckedLoadAnnotations']


@TRANSFORMS.register_module(name='LoadAnnotations', force=True)
class CheckedLoadAnnotations(LoadAnnotations):
    """mmseg's ``LoadAnnotations``, under the same name, so that its configs and inferencers find this one.

    Raises:
        ValueError: names a mask that cannot be read, is no map of labels, is not of its image's size, or holds a label
            that is none of the data set's classes (data sets of ours say how many these are).
    """

    def _load_seg_map(self, results: dict) -> None:
        path = results['seg_map_path']
        try:
            super()._load_seg_map(results)
        except AssertionError:  # reduce_zero_label set here and not there
            raise
        except Exception as error:  # whatever the decoder makes of an empty file or of half a mask
            raise ValueError(f'{path} cannot be read as a mask: {error}') from error
        mask = results['gt_seg_map']
        if mask.ndim != 2:
            raise ValueError(
                f'{path} is no mask: a map of labels has one channel, this has the shape {mask.shape}. Save the labels '
                'themselves, not their colours'
            )
        size = tuple(results.get('ori_shape', mask.shape))
        if mask.shape != size:
            raise ValueError(
                f'{path} has {mask.shape[0]} x {mask.shape[1]} pixels, its image {results["img_path"]} has '
                f'{size[0]} x {size[1]}'
            )
        self._check_labels(mask, results)

    @staticmethod
    def _check_labels(mask: np.ndarray, results: dict[str, Any]) -> None:
        number = results.get('num_classes')
        if number is None:
            return
        wrong = np.unique(mask[(mask >= number) & (mask != 255)])
        if len(wrong):
            offset = int(bool(results['reduce_zero_label']))
            found = ', '.join(str(label + offset) for label in wrong[:5])
            raise ValueError(
                f'{results["seg_map_path"]} holds the labels {found}; the {number} classes are {offset} to '
                f'{number - 1 + offset}, and {"0 and " if offset else ""}255 mean no class'
            )
