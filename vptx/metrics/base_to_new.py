"""Accuracy on base classes, on new classes and on all at once, from one pass over the test images.

Zhou et al., "Conditional Prompt Learning for Vision-Language Models", CVPR 2022, https://arxiv.org/abs/2203.05557. A
model is trained on the base classes, the first half of the labels. Base images are then classified among the base
classes, new images among the new ones, and H = 2 * base * new / (base + new). The score of a class does not depend on
the other classes, so both are columns of one (N, C) matrix, and so is the accuracy among all C classes, which papers
leave out.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from vptx.registry import METRICS

__all__ = ['BaseToNew', 'harmonic_mean']


def harmonic_mean(base: float, new: float) -> float:
    """2ab / (a + b); 0 where one of them is 0."""
    return 2 * base * new / (base + new) if base and new else 0.0


@METRICS.register_module()
class BaseToNew(BaseMetric):
    """``base``, ``new``, ``H`` and ``all``, in per cent, of a test split with all classes.

    Reads ``pred_score`` (C,) and ``gt_label`` of mmpretrain's data samples. A cut to some columns of softmax leaves the
    order of the columns as it is.

    Source: Zhou et al. (CoCoOp), CVPR 2022, https://arxiv.org/abs/2203.05557.

    Args:
        num_base: how many of the classes are base; by default half of them, rounded up.
        per_class: whether the log has a line for each class, with its name and its accuracy among the classes of its
            half and among all.
        kwargs: of MMEngine's BaseMetric.

    Raises:
        ValueError: no image of a base or of a new class, images with several labels, no scores, none of an
            image's class, or no new classes.
    """

    default_prefix = 'base_to_new'

    def __init__(self, num_base: int | None = None, per_class: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_base = num_base
        self.per_class = per_class

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            if 'pred_score' not in sample:
                raise ValueError('BaseToNew needs pred_score of each image, the scores of all classes')
            if sample['gt_label'].numel() != 1:
                raise ValueError(f'BaseToNew needs one label for each image, not {sample["gt_label"].tolist()}')
            self.results.append(self._judge(sample['pred_score'].float(), int(sample['gt_label'])))

    def _judge(self, scores: Tensor, label: int) -> tuple[int, int, bool, bool, bool]:
        """Label, number of classes, right among its half, right among all, whether its half has scores of 0 only."""
        classes = len(scores)
        if label >= classes:
            raise ValueError(
                f'BaseToNew has an image of label {label} and scores of {classes} classes: the model must give scores '
                'of base and new classes, as a text head does whose classes are set to all'
            )
        base = self._base(classes)
        half = slice(0, base) if label < base else slice(base, classes)
        cut = scores[half]
        flat = not bool(cut.max() > 0)
        return label, classes, not flat and int(cut.argmax()) + half.start == label, int(scores.argmax()) == label, flat

    def _base(self, classes: int) -> int:
        base = -(-classes // 2) if self.num_base is None else self.num_base
        if not 0 < base < classes:
            raise ValueError(f'num_base={base} of {classes} classes leaves no base classes, or no new ones')
        return base

    def compute_metrics(self, results: list[tuple[int, int, bool, bool, bool]]) -> dict[str, float]:
        found = torch.tensor(results, dtype=torch.long)
        labels, among_half, among_all = found[:, 0], found[:, 2], found[:, 3]
        classes = int(found[0, 1])
        is_base = labels < self._base(classes)
        for name, there in (('base', is_base), ('new', ~is_base)):
            if not there.any():
                raise ValueError(
                    f'BaseToNew has seen no image of a {name} class, of {len(labels)} images and {classes} classes: '
                    "the test data must have all classes, such as CoOpTask(part='all')"
                )
        if flat := int(found[:, 4].sum()):
            print_log(
                f'BaseToNew: {flat} images have a score of 0 for every class of their half, because softmax has '
                'rounded it down; they count as wrong',
                'current',
                logging.WARNING,
            )
        if self.per_class:
            self._log_classes(labels, among_half, among_all)
        base, new = _per_cent(among_half[is_base]), _per_cent(among_half[~is_base])
        return dict(base=base, new=new, H=harmonic_mean(base, new), all=_per_cent(among_all))

    def _log_classes(self, labels: Tensor, among_half: Tensor, among_all: Tensor) -> None:
        names = (self.dataset_meta or {}).get('classes') or ()
        lines = ['class, images, accuracy in its half, accuracy among all:']
        for label in labels.unique().tolist():
            mine = labels == label
            name = names[label] if label < len(names) else label
            lines.append(
                f'  {name}: {int(mine.sum())}, {_per_cent(among_half[mine]):.1f} %, {_per_cent(among_all[mine]):.1f} %'
            )
        print_log('\n'.join(lines), 'current')


def _per_cent(right: Tensor) -> float:
    return 100 * float(right.double().mean())
