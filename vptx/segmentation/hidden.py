"""Classes that training does not see: their pixels have no label, and their IoU is reported by itself."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import METRICS, TRANSFORMS

from vptx.segmentation.annotations import NO_CLASS
from vptx.segmentation.metric import CheckedIoUMetric

__all__ = ['HiddenIoUMetric', 'HideClasses']


@TRANSFORMS.register_module()
class HideClasses(BaseTransform):
    """Pixels of some classes lose their label; for training, after ``LoadAnnotations``.

    Args:
        labels: of these classes, from 0.
    """

    def __init__(self, labels: Sequence[int]) -> None:
        self.labels = _whole(labels)

    def transform(self, results: dict) -> dict:
        mask = results['gt_seg_map']
        mask[np.isin(mask, self.labels)] = NO_CLASS
        return results


@METRICS.register_module()
class HiddenIoUMetric(CheckedIoUMetric):
    """``IoUMetric`` with the mean of the classes that training saw (``mIoU_seen``), of the others (``mIoU_hidden``) and
    their harmonic mean (``mIoU_H``).

    Args:
        hidden: labels of the classes that training did not see, as of ``HideClasses``.
        **options: of mmseg's ``IoUMetric``.

    Raises:
        ValueError: labels that are none of the classes, or all of them.
    """

    def __init__(self, hidden: Sequence[int], **options) -> None:
        super().__init__(**options)
        self.hidden = _whole(hidden)

    def compute_metrics(self, results: list) -> dict[str, float]:
        metrics = super().compute_metrics(results)
        if self.format_only:
            return metrics
        number = len(self.dataset_meta['classes'])
        if not set(self.hidden) < set(range(number)):
            raise ValueError(f'hidden must be some of the labels 0 to {number - 1}, not {self.hidden}')
        shared, either = (np.asarray(sum(result[part] for result in results), float) for part in (0, 1))
        with np.errstate(invalid='ignore'):  # a class that occurs nowhere is left out
            each = 100 * shared / either
        is_hidden = np.isin(np.arange(number), self.hidden)
        seen, hidden = np.nanmean(each[~is_hidden]), np.nanmean(each[is_hidden])
        both = 2 * seen * hidden / (seen + hidden) if seen + hidden else 0.0
        return {
            **metrics,
            'mIoU_seen': round(float(seen), 2),
            'mIoU_hidden': round(float(hidden), 2),
            'mIoU_H': round(float(both), 2),
        }


def _whole(labels: Sequence[int]) -> list[int]:
    """
    Raises:
        ValueError: no list of labels, or an empty one.
    """
    if isinstance(labels, (str, int)) or not labels or not all(type(label) is int and label >= 0 for label in labels):
        raise ValueError(f'a list of labels of at least one class is expected, not {labels!r}')
    return list(labels)
