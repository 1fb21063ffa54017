"""What a replica of the server does: answers of a bank to prepared images. No network, no Ray."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn

from vptx.analysis.attention import class_attention
from vptx.apis import init_model
from vptx.serve.bank import Bank, UnknownTask
from vptx.serve.pictures import Photograph
from vptx.serve.task import Task

__all__ = ['Answer', 'Engine', 'Failure']


@dataclass(frozen=True)
class Answer:
    """Scores of an image under a version of a task, the largest first.

    Attributes:
        task, version: whose.
        classes: names.
        scores: their probabilities.
    """

    task: str
    version: str
    classes: list[str]
    scores: list[float]


@dataclass(frozen=True)
class Failure:
    """Why there is no answer.

    Attributes:
        status: of HTTP.
        message: the reason.
    """

    status: int
    message: str


class Engine:
    """A bank, and what stands before it.

    Args:
        config: of a classifier or a segmentor; its prompter and the number of its classes do not matter, each task has
            its own.
        folder: of the prompt files.
        slots: of the bank.
        device: such as ``'cuda:0'``.
    """

    def __init__(self, config: Config, folder: str | Path, slots: int = 64, device: str = 'cpu') -> None:
        model: Any = init_model(config, None, device)
        self.bank = Bank(model, folder, slots)
        self.preprocessor: nn.Module | None = getattr(model, 'data_preprocessor', None)
        self.size = self.bank.frozen.net.geometry.image
        self.answers = 0
        self.masks: Any = None
        if self.bank.frozen.decoder is not None:
            from vptx.serve.masks import Masks  # mmsegmentation is an extra

            data: Any = (config.get('test_dataloader') or {}).get('dataset') or {}
            self.masks = Masks(self.bank, model.data_preprocessor, data)
        self._lock = Lock()

    def _images(self, inputs: Sequence[Tensor]) -> Tensor:
        if self.preprocessor is None:
            return torch.stack(list(inputs))
        return self.preprocessor(dict(inputs=list(inputs)), training=False)['inputs']

    def predict(self, items: Sequence[tuple[Any, str]], top: int = 5) -> list[Any]:
        """Of each image, as ``Pictures`` gives it, with the name of a task, mixed in one batch: an ``Answer``, of a
        segmentor a ``Mask``, or a ``Failure``. What is wrong with one task is no concern of the others."""
        failures: dict[str, Failure] = {}
        for name in dict.fromkeys(name for _, name in items):
            failure = self._failure(name)
            if failure is not None:
                failures[name] = failure
        good = [i for i, (_, name) in enumerate(items) if name not in failures]
        found: dict[int, Any] = {}
        if good:
            try:
                with self._lock:
                    answers = self._answers([items[i] for i in good], top)
            except (UnknownTask, ValueError) as error:  # removed in the meantime, or its file was spoiled
                if len(items) > 1:
                    return [self.predict([item], top)[0] for item in items]
                if isinstance(error, ValueError):
                    return [self._unfit(error)]
                return [Failure(404, f'there is no task {items[0][1]!r}')]
            self.answers += len(good)
            found = dict(zip(good, answers, strict=True))
        return [found.get(i) or failures[name] for i, (_, name) in enumerate(items)]

    def _answers(self, items: Sequence[tuple[Any, str]], top: int) -> list[Any]:
        if self.masks is None:
            answers = self.bank.answer(self._images([image for image, _ in items]), [name for _, name in items])
            return [answer(task, logits, top) for logits, task in answers]
        found = self.masks(items)
        return [
            Failure(getattr(mask, 'status', 422), str(mask)) if isinstance(mask, ValueError) else mask for mask in found
        ]

    def _failure(self, name: str) -> Failure | None:
        try:
            self.bank.task(name)
        except UnknownTask as error:
            return Failure(404, str(error))
        except ValueError as error:  # a file that was put into the folder and does not fit
            return self._unfit(error)
        return None

    def _unfit(self, error: Exception) -> Failure:
        """What is wrong, without where this machine has its files."""
        return Failure(422, str(error).replace(f'{self.bank.folder}{os.sep}', ''))

    def add(self, name: str, content: bytes) -> dict[str, Any] | Failure:
        """What there is to know of a task that was added or replaced, or why its file does not fit."""
        try:
            self.bank.add(name, content)
            return self.describe(name)
        except (ValueError, UnknownTask) as error:
            return self._unfit(error)

    def describe(self, name: str) -> dict[str, Any] | Failure:
        failure = self._failure(name)
        if failure is not None:
            return failure
        task = self.bank.task(name)
        facts = dict(name=name, version=task.version, classes=list(task.classes), bytes=task.bytes)
        return facts if self.masks is None else dict(facts, colours=self.masks.colours(task.classes))

    def attention(self, image: Any, name: str) -> dict[str, Any] | Failure:
        """Of the class token in each layer, to the prompts (P,) and to the patches (H' * W'), means over heads; of a
        segmentor, with the whole image resized to the network's size."""
        failure = self._failure(name)
        if failure is not None:
            return failure
        with self._lock, self.bank.pinned([name]) as (task,):
            network = self.bank.frozen.network_of(task.kind)
            try:
                layers, grid = class_attention(network, self._whole(image), [task.prompter])
            except ValueError as error:
                return Failure(422, str(error))
        parts = [
            dict(own=own.tolist(), prompts=prompts.tolist(), patches=patches.tolist())
            for own, prompts, patches in layers
        ]
        return dict(task=name, version=task.version, grid=list(grid), layers=parts)

    def _whole(self, image: Any) -> Tensor:
        """(1, 3, H, W), of the network's size."""
        if not isinstance(image, Photograph):
            return self._images([image])
        resized = F.interpolate(image.pixels[None].float(), self.size, mode='bilinear', antialias=True)[0]
        return self.masks.images([resized])[0]

    def facts(self) -> dict[str, Any]:
        bank = self.bank
        ready = bank.ready
        return dict(
            network=bank.frozen.net.geometry.name,
            size=list(self.size),
            segments=self.masks is not None,
            tasks=len(bank.names),
            slots=bank.slots,
            ready=len(ready),
            loads=bank.loads,
            answers=self.answers,
            bytes=sum(task.bytes for task in ready),
        )


def answer(task: Task, logits: Tensor, top: int) -> Answer:
    scores = logits.float().softmax(-1)
    best = scores.topk(min(top, len(scores)))
    return Answer(
        task.name,
        task.version,
        [task.classes[i] for i in best.indices.tolist()],
        [round(s, 6) for s in best.values.tolist()],
    )


def as_json(found: Any) -> dict[str, Any]:
    """An answer as the server says it."""
    if not isinstance(found, Answer):
        return found.as_json()
    facts = asdict(found)
    classes, scores = facts.pop('classes'), facts.pop('scores')
    return dict(facts, classes=[dict(name=name, score=score) for name, score in zip(classes, scores, strict=True)])
