"""One run of many: where its result lies, what is in it, and how it comes there.

What is still to do is read off the files: whatever runs trials, in one process or on a cluster, can be killed and goes
on when it is started again.
"""

import csv
import gc
import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from vptx.cli import make_runner
from vptx.files import alone, write_whole

__all__ = ['METRIC', 'Point', 'Run', 'Trial', 'keep_apart', 'name_of', 'write_table']

METRIC = 'accuracy/top1'
Point = dict[str, Any]


@dataclass
class Trial:
    """What a run came to.

    Attributes:
        point: its settings, by their path in the config.
        accuracy: of the last epoch, in per cent; None if it broke off, with the reason in ``error``.
        trained: number of trained values.
        error: why there is no accuracy.
        stopped: whether a scheduler stopped it, because others did better.
        seed: of the run.
        seconds: it took, in this process, evaluation included; not those before it was resumed.
        megabytes: most memory that it took, of the GPU if there is one, else of the process.
        kilobytes: size of the prompt file.
    """

    point: Point
    accuracy: float | None
    trained: int = 0
    error: str = ''
    stopped: bool = False
    seed: int | None = None
    seconds: float = 0.0
    megabytes: float = 0.0
    kilobytes: float = 0.0


@dataclass(frozen=True)
class Run:
    """A run to be: a config, and the folder that keeps what it came to.

    Attributes:
        out: folder of all runs.
        name: its folder there.
        config: with everything set but where it is run.
        point: the settings that make it different from the others.
        seen: ``'val'`` or ``'test'``, what its last epoch is judged by.
    """

    out: Path
    name: str
    config: Config = field(compare=False, repr=False)
    point: Point = field(compare=False)
    seen: str

    @property
    def folder(self) -> Path:
        return self.out / self.name

    def __str__(self) -> str:
        return self.name

    def read(self) -> Trial | None:
        """What it came to, if it has come to an end."""
        with suppress(FileNotFoundError):
            return Trial(**json.loads((self.folder / 'result.json').read_text()))
        return None

    def write(self, trial: Trial) -> Trial:
        write_whole(self.folder / 'result.json', json.dumps(asdict(trial), indent=1).encode())
        return trial

    def do(self, watch: Callable[[Runner], None] | None = None) -> Trial:
        """Train and judge the last epoch, unless that is done; what was begun is resumed. Keeps the result, and of a
        run judged by the test split its prompt file.

        Args:
            watch: called with the Runner before it trains.
        """
        with alone(self.folder):  # a run that outlived whoever started it may still be at it
            done = self.read()
            return done if done and not done.stopped else self.write(self._do(watch))

    def _do(self, watch: Callable[[Runner], None] | None) -> Trial:
        config = Config(self.config.to_dict())
        config.work_dir, config.resume, config.load_from = str(self.folder), True, None
        config.experiment_name = (
            f'{self.name.replace("/", "_")}_{time.time_ns()}'  # MMEngine keeps loggers by this name
        )
        DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmpretrain'))
        started = time.perf_counter()
        gc.collect()  # a Runner is part of cycles, in which an earlier one keeps its network
        _forget_peak()
        runner = make_runner(config)
        if watch is not None:
            watch(runner)
        trial = Trial(self.point, None, seed=runner.seed)
        try:
            runner.train()
            trial.accuracy = runner.val()[METRIC] if self.seen == 'val' else runner.test()[METRIC]
        except FloatingPointError as error:  # a learning rate too high, as grids have them
            trial.error = str(error)
        trial.seconds, trial.megabytes = time.perf_counter() - started, _peak()
        trial.trained = sum(parameter.numel() for parameter in runner.model.parameters() if parameter.requires_grad)
        prompt = self.folder / 'prompt.safetensors'
        trial.kilobytes = prompt.stat().st_size / 1024 if prompt.is_file() else 0.0
        for checkpoint in self.folder.glob('*.pth'):
            checkpoint.unlink()
        if self.seen == 'val':
            prompt.unlink(missing_ok=True)
        return trial


def _forget_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # Linux only
            Path('/proc/self/clear_refs').write_text('5')


def _peak() -> float:
    """The most memory since then, in megabytes."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    with suppress(OSError):
        found = re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())
        return int(found[1]) / 1024 if found else 0.0
    return 0.0


def name_of(point: Point) -> str:
    """The point as the name of a folder: the last word of each path, and its value."""
    parts = [
        f'{key.rpartition(".")[2]}={value:g}' if isinstance(value, float) else f'{key.rpartition(".")[2]}={value}'
        for key, value in point.items()
    ]
    return re.sub(r'[^\w.=+-]', '-', '_'.join(parts)) or 'as_it_is'


def keep_apart(config: Config, folder: Path) -> None:
    """Refuse to mix runs of a config with those of the same config, or weights, before they were changed.

    Raises:
        ValueError: ``folder`` holds such runs.
    """
    record, text = folder / 'config.py', config.pretty_text
    weights = config.model.backbone.get('net', {}).get('weights')
    if weights and Path(weights).is_file():
        text += f'# weights: {hashlib.sha256(Path(weights).read_bytes()).hexdigest()}\n'
    if record.is_file() and record.read_text() != text:
        raise ValueError(
            f'{folder} holds runs of another version of this config or its weights: remove it, or give another --out'
        )
    if not record.is_file():
        write_whole(record, text.encode())


def write_table(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as CSV; a column that only some of them have is empty in the others."""
    rows = list(rows)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())
