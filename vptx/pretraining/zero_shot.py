"""How many questions about scenes a network answers rightly that was trained on captions alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from mmengine.structures import BaseDataElement
from torch import Tensor

from vptx.datasets.mini.captioned_scenes import QUESTIONS, CaptionedScenes
from vptx.datasets.mini.figure_tasks import FigureTask

from .contrastive import ContrastivePretraining

__all__ = ['ZeroShotAccuracy', 'ask', 'classify']


@METRICS.register_module()
class ZeroShotAccuracy(BaseMetric):
    """Per cent of right answers to each of ``QUESTIONS``, and their mean.

    A sample has a ``scene`` and ``answers``, as
    ``ContrastivePretraining`` predicts them.
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


def ask(model: ContrastivePretraining, scenes: CaptionedScenes) -> dict[str, float]:
    """Per cent of right answers to each question about the scenes, and their mean."""
    metric = ZeroShotAccuracy()
    for start in range(0, len(scenes), 500):
        items = [scenes.get_data_info(i) for i in range(start, min(start + 500, len(scenes)))]
        samples = [BaseDataElement(metainfo=dict(scene=item['scene'])) for item in items]
        with torch.no_grad():
            model(_pixels([item['img'][..., ::-1] for item in items]), samples, mode='predict')
        metric.process({}, [dict(scene=sample.scene, answers=sample.answers) for sample in samples])
    return metric.compute_metrics(metric.results)


def classify(model: ContrastivePretraining, task: FigureTask, template: str = 'a photo of a {}.') -> float:
    """Per cent of the images of a task that are nearest to the name of their class."""
    names, right = model.names(task.CLASSES, [template]), 0
    for images, labels in zip(np.split(task.images, _cuts(task)), np.split(task.labels, _cuts(task)), strict=True):
        with torch.no_grad():
            right += int((model(_pixels(list(images))) @ names.T).argmax(-1).eq(torch.from_numpy(labels)).sum())
    return 100 * right / len(task.labels)


def _cuts(task: FigureTask) -> range:
    return range(500, len(task.labels), 500)


def _pixels(images: Sequence[np.ndarray]) -> Tensor:
    """RGB (H, W, 3) uint8 each -> (n, 3, H, W) in [-1, 1], as in pre-training."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1
