"""A bank of tasks on one frozen network.

    bank = Bank(network, folder='prompts', slots=64)
    bank.add('flowers', 'work_dirs/flowers/prompt.safetensors')
    logits = bank.predict(images, ['flowers', 'cars', 'flowers'])      # a task for each image

A mixed batch goes once through what is frozen. Each sample attends to the keys and values of its own task's prompts,
which are made once, when the task is loaded (``MixedPrompter``). The heads of all tasks are
one product, of which each sample gets its own part; decode heads of segmentors run on the samples of their task.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from threading import Condition
from typing import Any

import torch
from torch import Tensor, nn

from vptx.files import existing, write_whole
from vptx.serve.frozen import FrozenNetwork
from vptx.serve.segments import segment
from vptx.serve.task import Kind, Task

__all__ = ['Bank', 'UnknownTask', 'check_name', 'version_of']

#: What a task may be called. No path is such a name.
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_-]{0,63}')
SUFFIX = '.safetensors'
Stamp = tuple[int, int, int]


class UnknownTask(KeyError):  # noqa: N818  says what is asked for, not what is wrong
    """There is no task of this name. The message names the task."""

    def __str__(self) -> str:
        return str(self.args[0])


def check_name(name: str) -> str:
    """``name``, if a task may be called so.

    Raises:
        ValueError: says what a name is.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            f'{name!r} is no name of a task: it has 1 to 64 letters, digits, hyphens and underscores, and begins with '
            'a letter or digit'
        )
    return name


def version_of(content: bytes) -> str:
    """What the version of a task is called: the first 16 digits of SHA-256 over its file."""
    return sha256(content).hexdigest()[:16]


class Bank:
    """Tasks by name, whose prompts and heads share one frozen network.

    Args:
        network: a library's network, one that ``vptx.attach`` prompted, or a classifier of mmpretrain or a segmentor of
            mmsegmentation, such as ``vptx.init_model`` gives. It is left as it is; its weights are shared.
        folder: where the files of the tasks are, ``NAME.safetensors``. What is put there is a task, what is replaced
            is another version, and what is taken away is gone, for every bank that has the folder. None keeps the files
            where they are.
        slots: how many tasks are ready at a time. Others are read from their files when they are asked for, and take
            the place of those that were asked for longest ago.

    Raises:
        ValueError: no slots; a network that has no features of one vector for an image.
    """

    def __init__(self, network: nn.Module, folder: str | Path | None = None, slots: int = 64) -> None:
        if not isinstance(slots, int) or isinstance(slots, bool) or slots < 1:
            raise ValueError(f'slots must be a whole number of at least 1, not {slots!r}')
        self.frozen = FrozenNetwork(network)
        self.folder = None if folder is None else Path(folder)
        self.slots = slots
        self.loads = 0
        self._paths: dict[str, Path] = {}
        self._ready: OrderedDict[str, tuple[Stamp, Task]] = OrderedDict()
        self._pins: Counter[Task] = Counter()
        self._changed = Condition()

    # Tasks

    @property
    def names(self) -> tuple[str, ...]:
        """Of all tasks, ready or not."""
        if self.folder is None:
            return tuple(sorted(self._paths))
        return tuple(sorted(path.stem for path in self.folder.glob(f'*{SUFFIX}') if NAME.fullmatch(path.stem)))

    def __contains__(self, name: str) -> bool:
        return NAME.fullmatch(name) is not None and self._path(name) is not None

    @property
    def ready(self) -> tuple[Task, ...]:
        """The tasks that have a slot. One whose file was taken away gives it back."""
        with self._changed:
            for name in [name for name in self._ready if self._path(name) is None]:
                del self._ready[name]
            return tuple(task for _, task in self._ready.values())

    def _path(self, name: str) -> Path | None:
        if self.folder is None:
            return self._paths.get(name)
        path = self.folder / f'{name}{SUFFIX}'
        return path if path.is_file() else None

    def add(self, name: str, prompt_file: str | Path | bytes) -> str:
        """Add a task, or replace the one of this name: batches that have begun end with the old version.

        Args:
            name: of the task; no path.
            prompt_file: ``.safetensors``, or its content where the bank has a folder, into which it is copied.

        Returns:
            The version.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no name of a task, or a file that does not fit. The bank is left as it was.
        """
        check_name(name)
        if isinstance(prompt_file, bytes):
            if self.folder is None:
                raise ValueError(
                    'the content of a file is added to a bank that has a folder: give the path of the file'
                )
            content, where = prompt_file, f'the file of {name}'
        else:
            path = existing(prompt_file, 'prompt file')
            if path.suffix != SUFFIX:
                raise ValueError(f'{path}: a task is a {SUFFIX} file')
            content, where = path.read_bytes(), str(path)
        task = self.frozen.load(name, version_of(content), content, where)
        with self._changed:
            if self.folder is None:
                self._paths[name] = path.resolve()
            else:
                write_whole(self.folder / f'{name}{SUFFIX}', content)
            self._keep(name, _stamp(self._path(name)), task)
        return task.version

    def remove(self, name: str) -> None:
        """Take a task out; batches that have begun end with it.

        Raises:
            UnknownTask: there is none of this name.
        """
        with self._changed:
            path = self._path(name) if NAME.fullmatch(name) else None
            if path is None:
                raise UnknownTask(self._unknown(name))
            if self.folder is None:
                del self._paths[name]
            else:
                path.unlink(missing_ok=True)
            self._ready.pop(name, None)

    def task(self, name: str) -> Task:
        """The present version of a task, made ready if it is not.

        Raises:
            UnknownTask: there is none of this name.
            ValueError: its file does not fit.
        """
        with self.pinned([name]) as tasks:
            return tasks[0]

    @contextmanager
    def pinned(self, names: Sequence[str]) -> Iterator[list[Task]]:
        """The present versions of tasks, which stay ready in this context; of a name that is there twice, one.

        Raises:
            UnknownTask: there is none of a name.
            ValueError: more tasks than slots, or a file that does not fit.
        """
        wanted = dict.fromkeys(names)
        if len(wanted) > self.slots:
            raise ValueError(f'{len(wanted)} tasks at a time are more than the {self.slots} slots of this bank')
        with self._changed:
            # All at once, or a second batch could wait for a slot of this one, and this one for one of that.
            self._changed.wait_for(lambda: len({t.name for t in self._pins} | wanted.keys()) <= self.slots)
            found = {name: self._find(name) for name in wanted}
            self._pins.update(found.values())
        try:
            yield [found[name] for name in names]
        finally:
            with self._changed:
                self._pins.subtract(found.values())
                self._pins += Counter()  # without those that nothing pins
                self._changed.notify_all()

    def _find(self, name: str) -> Task:
        path = self._path(name) if NAME.fullmatch(name) else None
        stamp = _stamp(path)
        if path is None or stamp is None:
            self._ready.pop(name, None)
            raise UnknownTask(self._unknown(name))
        known = self._ready.get(name)
        if known is not None and known[0] == stamp:
            self._ready.move_to_end(name)
            return known[1]
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise UnknownTask(self._unknown(name)) from None
        version = version_of(content)
        task = known[1] if known is not None and known[1].version == version else None
        if task is None:
            task = self.frozen.load(name, version, content, str(path))
            self.loads += 1
        self._keep(name, stamp, task)
        return task

    def _keep(self, name: str, stamp: Stamp | None, task: Task) -> None:
        if stamp is None:
            return
        self._ready[name] = stamp, task
        self._ready.move_to_end(name)
        pinned = {task.name for task in self._pins}
        for other in [other for other in self._ready if other != name and other not in pinned]:
            if len(self._ready) <= self.slots:
                break
            del self._ready[other]

    def _unknown(self, name: str) -> str:
        there = self.names
        more = f' and {len(there) - 10} more' if len(there) > 10 else ''
        return f'there is no task {str(name)[:80]!r}. There are: {", ".join(there[:10]) or "none"}{more}'

    # Prediction

    def predict(self, images: Tensor, names: Sequence[str]) -> list[Tensor]:
        """Logits of a mixed batch.

        Args:
            images: as the network takes them (B, 3, H, W). Of a segmentor whose test goes by windows, larger ones, too.
            names: of the task of each image; one image may stand there several times, under several tasks.

        Returns:
            Of each image, the logits (C,) of its task, whose C classes are those of ``task``; of a segmentor, those of
            each pixel (C, H, W).

        Raises:
            UnknownTask: there is none of a name.
            ValueError: another number of names than of images; a task whose file does not fit any more.
        """
        return [logits for logits, _ in self.answer(images, names)]

    @torch.inference_mode()
    def answer(self, images: Tensor, names: Sequence[str]) -> list[tuple[Tensor, Task]]:
        """As ``predict``, with the version of the task that each image was seen by."""
        if len(images) != len(names):
            raise ValueError(f'{len(names)} names of tasks for {len(images)} images: one for each')
        found: dict[int, tuple[Tensor, Task]] = {}
        distinct = list(dict.fromkeys(names))
        for start in range(0, len(distinct), self.slots):  # more tasks than slots, one part after the other
            part = set(distinct[start : start + self.slots])
            rows = [row for row, name in enumerate(names) if name in part]
            with self.pinned([names[row] for row in rows]) as tasks:
                found.update(self._answer(images, dict(zip(rows, tasks, strict=True))))
        return [found[row] for row in range(len(names))]

    def _answer(self, images: Tensor, tasks: dict[int, Task]) -> dict[int, tuple[Tensor, Task]]:
        """By the row of each image."""
        kinds = {kind: i for i, kind in enumerate(dict.fromkeys(task.kind for task in tasks.values()))}
        order = sorted(tasks, key=lambda row: (kinds[tasks[row].kind], tasks[row].name))
        found: dict[int, tuple[Tensor, Task]] = {}
        for kind, group in groupby(order, key=lambda row: tasks[row].kind):
            rows = list(group)
            # The images themselves, where that is all of them: no copy.
            batch = images if rows == list(range(len(images))) else images[torch.tensor(rows, device=images.device)]
            logits = self._logits(batch, kind, [tasks[row] for row in rows])
            found.update({row: (scores, tasks[row]) for row, scores in zip(rows, logits, strict=True)})
        return found

    def _logits(self, batch: Tensor, kind: Kind, tasks: Sequence[Task]) -> list[Tensor]:
        """Of samples of one kind, those of a task next to each other."""
        prompters = [task.prompter for task in tasks]
        if self.frozen.decoder is None:
            return self._classify(self.frozen.features(batch, kind, prompters), tasks)
        decoders: list[Any] = [task.head for task in tasks]
        return segment(batch, decoders, lambda images: self.frozen.maps(images, kind, prompters))

    def _classify(self, features: Tensor, tasks: Sequence[Task]) -> list[Tensor]:
        """(B, D) -> (C,) of each task: one product with all heads."""
        distinct = list(dict.fromkeys(tasks))
        heads: list[Any] = [task.head for task in distinct]
        weight, bias = (
            parts[0] if len(parts) == 1 else torch.cat(parts)
            for parts in ([head.weight for head in heads], [head.bias for head in heads])
        )
        product = torch.nn.functional.linear(features, weight, bias)
        starts = dict(zip(distinct, _starts(heads), strict=True))
        lengths = self._lengths(features) if any(head.unit for head in heads) else None
        found = []
        by_task = dict(zip(distinct, heads, strict=True))
        for row, task in enumerate(tasks):
            head = by_task[task]
            scores = product[row, starts[task] : starts[task] + head.classes]
            if head.unit and lengths is not None:
                scores = scores / lengths[row]
                scores = scores if head.after is None else scores + head.after
            found.append(scores)
        return found

    def _lengths(self, features: Tensor) -> Tensor:
        """(B,), of the embeddings of images that a text head reads."""
        classifier = self.frozen.classifier
        assert isinstance(classifier, nn.Linear)
        return classifier(features).norm(dim=-1).clamp_min(1e-12)


def _starts(heads: Sequence) -> list[int]:
    sizes = [len(head.weight) for head in heads]
    return [sum(sizes[:i]) for i in range(len(sizes))]


def _stamp(path: Path | None) -> Stamp | None:
    """Changes with the file, which is replaced and never written to."""
    try:
        facts = path.stat() if path is not None else None
    except FileNotFoundError:
        return None
    return None if facts is None else (facts.st_mtime_ns, facts.st_size, facts.st_ino)
