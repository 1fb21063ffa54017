"""How many questions about scenes a network answers rightly that was trained on captions alone."""

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from vptx.datasets.mini.captioned_scenes import QUESTIONS

__all__ = ['ZeroShotAccuracy']


@METRICS.register_module()
class ZeroShotAccuracy(BaseMetric):
    """Per cent of right answers to each of :data:`~vptx.datasets.mini.captioned_scenes.QUESTIONS`, and their mean.

    A sample has a ``scene`` and ``answers``, as
    :class:`~vptx.pretraining.contrastive.ContrastivePretraining` predicts them.
    """

    default_prefix = 'zero_shot'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Note which answers are right."""
        for sample in data_samples:
            answers, scene = sample['answers'], sample['scene']
            self.results.append({name: answers[name] == asked.answer(scene) for name, asked in QUESTIONS.items()})

    def compute_metrics(self, results: list[dict[str, bool]]) -> dict[str, float]:
        """Per cent right, by question."""
        per_cent = {name: 100 * sum(row[name] for row in results) / len(results) for name in QUESTIONS}
        return {**per_cent, 'mean': sum(per_cent.values()) / len(per_cent)}
