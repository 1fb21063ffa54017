"""mmseg's intersection over union, which says which classes it says nothing of."""

import logging
from typing import Any

from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

__all__ = ['CheckedIoUMetric']


@METRICS.register_module(name='IoUMetric', force=True)
class CheckedIoUMetric(IoUMetric):
    """mmseg's ``IoUMetric``, under the same name, so that its configs find this one.

    Warns of classes that occur in no mask: mIoU is an average over the others, or counts them as 0.
    """

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The sums of all images -> the metrics, unchanged."""
        if not self.format_only:
            self._warn(results)
        return super().compute_metrics(results)

    def _warn(self, results: list[tuple[Any, Any, Any, Any]]) -> None:
        labelled, predicted = (sum(result[part] for result in results) for part in (3, 2))
        absent = [number for number, area in enumerate(labelled) if area == 0]
        if not absent:
            return
        names = self.dataset_meta['classes']
        never = [names[number] for number in absent if predicted[number] == 0]
        wrong = [names[number] for number in absent if predicted[number] > 0]
        parts = [f'{_listed(never)}: IoU is not a number, and mIoU leaves this out'] if never else []
        parts += [f'{_listed(wrong)}, which is predicted: IoU is 0, and mIoU counts this'] if wrong else []
        print_log(
            f'{len(absent)} of {len(names)} classes occur in no mask of the {len(results)} images evaluated ('
            f'{"; ".join(parts)})',
            'current',
            logging.WARNING,
        )


def _listed(names: list[str], most: int = 8) -> str:
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')
