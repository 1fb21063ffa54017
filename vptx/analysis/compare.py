"""Methods, and nets, side by side: the learning rate chosen on validation, the figure from the test split, over seeds.

Each run is a process of its own that leaves its result in a file. What is still to do is read off the files: a
comparison that was killed goes on, and a run that dies takes nothing else with it.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from vptx.analysis.results import Row, markdown, plot
from vptx.analysis.trials import keep_apart
from vptx.cli import keep_features, make_runner, read_config
from vptx.files import alone, write_whole

__all__ = ['compare']

#: Type of an evaluator -> which of its figures is compared; without its '/top1', our name for it.
METRICS = {'Accuracy': 'accuracy/top1', 'IoUMetric': 'mIoU'}


@dataclass(frozen=True)
class Run:
    """One training, evaluated on one split.

    Attributes:
        cell: folder of its config and net.
        lr: learning rate.
        seed: of the run.
        split: ``'val'`` or ``'test'``, which the end of the training is evaluated on.
        metric: how it is judged, a value of :data:`METRICS`.
    """

    cell: Path
    lr: float
    seed: int
    split: str
    metric: str

    @property
    def folder(self) -> Path:
        return self.cell / f'lr{self.lr:g}_seed{self.seed}'

    @property
    def result(self) -> Path:
        return self.folder / f'{self.split}.json'

    @property
    def log(self) -> Path:
        return self.folder / f'{self.split}.log'

    def __str__(self) -> str:
        return f'{self.folder.name}/{self.split}'

    def read(self) -> dict:
        return json.loads(self.result.read_text())

    @property
    def score(self) -> float:
        """In per cent."""
        return self.read()[_short(self.metric)]


def _short(metric: str) -> str:
    return metric.partition('/')[0]


class Cell:
    """A config with a net: all of its runs.

    Raises:
        ValueError: ``out`` holds runs of another version of the config, or of other weights; an evaluator with nothing
            to compare by.
    """

    def __init__(
        self,
        path: str,
        net: str | None,
        factors: Sequence[float],
        seeds: Sequence[int],
        out: str | Path,
        options: dict[str, Any],
        features: str | Path | None = None,
    ) -> None:
        self.config, self.name, self.net = read_config(path, net), Path(path).stem, net
        self.config.merge_from_dict(options)
        self.folder = Path(out, net or '', self.name)
        base = self.config.optim_wrapper.optimizer.lr
        self.rates = [base * factor for factor in sorted(set(factors))]
        self.metric = self._metric()
        self.val = [Run(self.folder, rate, seeds[0], 'val', self.metric) for rate in self.rates]
        self.seeds = seeds
        keep_apart(self.config, self.folder)
        if features is not None:  # which changes no result
            keep_features(self.config, features, required=False)

    def _metric(self) -> str:
        given = self.config.test_evaluator
        types = [evaluator['type'] for evaluator in (given if isinstance(given, list) else [given])]
        for kind in types:
            if kind in METRICS:
                return METRICS[kind]
        raise ValueError(
            f'{self.name} has nothing to compare by: its test_evaluator is {", ".join(types)}, not '
            f'{" or ".join(METRICS)}'
        )

    def best(self) -> Run | None:
        """The run that was best on validation, of those that came to an end; ties go to the smaller rate."""
        ended = [run for run in self.val if run.result.is_file()]
        return max(ended, key=lambda run: run.score, default=None)

    def test(self) -> list[Run]:
        """The runs on the test split, once validation has chosen."""
        best = self.best()
        return [Run(self.folder, best.lr, seed, 'test', self.metric) for seed in self.seeds] if best else []

    def todo(self, failed: Collection[Run]) -> list[Run]:
        """Runs without a result, as far as they are known: those on the test split wait for the choice."""
        for runs in (self.val, self.test()):
            missing = [run for run in runs if not run.result.is_file() and run not in failed]
            if missing:
                return missing
        return []

    def row(self, failed: Collection[Run]) -> Row:
        """What was found."""
        row = Row(self.name, self.net, self.config.train_dataloader.dataset.type, metric=_short(self.metric))
        row.failed = [str(run) for run in [*self.val, *self.test()] if run in failed]
        best = self.best()
        if best is not None:
            row.lr, row.val = best.lr, best.score
            row.test = [run.score for run in self.test() if run.result.is_file()]
            row.trained, row.kilobytes = best.read()['trained'], best.read()['kilobytes']
            row.at_edge = len(self.rates) > 1 and best.lr in (self.rates[0], self.rates[-1])
        return row


def compare(
    configs: Sequence[str],
    factors: Sequence[float],
    seeds: Sequence[int],
    out: str | Path,
    nets: Sequence[str | None] = (None,),
    jobs: int = 1,
    options: dict[str, Any] | None = None,
    features: str | Path | None = None,
) -> list[Row]:
    """Train every config with every net at ``factors`` times its learning rate, choose on validation, test the choice.

    Selection uses the first seed and never sees the test split. Ties go to the smaller rate. What is finished is kept
    under ``out`` and not run again; what failed is told, and run again the next time. ``out`` gets ``table.md``,
    ``table.json`` and ``table.png``.

    Args:
        configs: config files.
        factors: multiples of each config's own learning rate.
        seeds: of the runs on the test split.
        out: folder of the runs.
        nets: names of files in ``_base_/nets``, each put in place of the config's own; None is its own.
        jobs: how many runs go side by side; PyTorch's threads are divided among them.
        options: settings to override in every config, ``{'key.of.setting': value}``.
        features: folder of features that frozen networks make of images (:class:`~vptx.hooks.FeatureCacheHook`), where
            a config has such a network; None computes them in every epoch.

    Raises:
        ValueError: ``out`` holds runs of a config or of weights that have changed since; no such net; no jobs.
    """
    if jobs < 1:
        raise ValueError(f'jobs must be a whole number of at least 1, not {jobs}')
    # All are read before one is run: a mistake is told at once.
    cells = [Cell(path, net, factors, seeds, out, options or {}, features) for path in configs for net in nets]
    configs_of = {cell.folder: cell.config for cell in cells}
    threads = max(1, torch.get_num_threads() // jobs)
    context: Any = get_context('spawn' if torch.cuda.is_available() else 'fork')  # CUDA does not outlive a fork
    running: dict[Any, tuple[Any, Run, float]] = {}
    failed: set[Run] = set()
    told: list[Row] = []
    try:
        while True:
            busy = {run for _, run, _ in running.values()}
            ready = [run for cell in cells for run in cell.todo(failed) if run not in busy]
            for run in ready[: jobs - len(running)]:
                process = context.Process(target=_run, args=(configs_of[run.cell].to_dict(), run, threads))
                process.start()
                running[process.sentinel] = process, run, time.perf_counter()
            if not running:
                break
            for sentinel in wait(list(running)):
                process, run, started = running.pop(sentinel)
                process.join()
                name = f'{run.cell.relative_to(out)} {run}'
                if run.result.is_file():
                    print(f'{name}: {run.score:.1f} % ({time.perf_counter() - started:.0f} s)', flush=True)
                else:
                    failed.add(run)
                    print(f'{name} FAILED: {_last_line(run.log, process.exitcode)}; see {run.log}', flush=True)
            done = [cell.row(failed) for cell in cells if not cell.todo(failed)]
            if done != told:
                told = done
                write_whole(Path(out, 'table.md'), (markdown(done) + '\n').encode())
    finally:
        for process, _, _ in running.values():
            process.terminate()
    rows = [cell.row(failed) for cell in cells]
    write_whole(Path(out, 'table.json'), json.dumps([asdict(row) for row in rows], indent=1).encode())
    write_whole(Path(out, 'table.md'), (markdown(rows) + '\n').encode())
    plot(rows, Path(out, 'table.png'))
    return rows


def _last_line(log: Path, status: int) -> str:
    lines = log.read_text().strip().splitlines() if log.is_file() else []
    return f'killed by signal {-status}' if status < 0 else lines[-1] if lines else f'exit status {status}'


def _run(config: dict, run: Run, threads: int) -> None:
    """In a process of its own: train (unless that is done), evaluate, leave the result; all output goes to the log."""
    with alone(run.folder), run.log.open('w') as log:  # one that outlived a killed comparison may still be at it
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.stdout = sys.stderr = log
        torch.set_num_threads(threads)
        try:
            if not run.result.is_file():
                write_whole(run.result, json.dumps(_train_and_evaluate(Config(config), run)).encode())
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None


def _train_and_evaluate(config: Config, run: Run) -> dict:
    """Train, unless a finished training is there, and evaluate what it ended with."""
    config.work_dir = str(run.folder)
    config.experiment_name = f'{run.cell.name}_{run.folder.name}_{run.split}'
    config.launcher = 'none'
    config.optim_wrapper.optimizer.lr = run.lr
    config.randomness = dict(seed=run.seed)
    config.visualizer.vis_backends = []
    trained = run.folder / 'prompt.safetensors'
    DefaultScope.overwrite_default_scope(config.default_scope)
    if not trained.is_file():
        training = Config(config.to_dict())
        training.resume = True
        training.val_cfg = training.val_dataloader = training.val_evaluator = None  # it is judged once, below
        make_runner(training).train()
    config.resume, config.load_from = False, str(trained)
    config.experiment_name += '_eval'
    if run.split == 'val':
        config.test_dataloader, config.test_evaluator = config.val_dataloader, config.val_evaluator
    runner = make_runner(config)
    score = float(runner.test()[run.metric])  # mmseg gives a number of NumPy
    return dict(
        {_short(run.metric): score},
        trained=sum(p.numel() for p in runner.model.parameters() if p.requires_grad),
        kilobytes=trained.stat().st_size / 1024,
    )
