"""One run of many: where its result lies, what is in it, and how it comes there, alone or next to others.

What is still to do is read off the files: whatever runs trials, on one machine or on a cluster, can be killed and goes
on when it is started again, and a run that dies takes nothing else with it.
"""

import csv
import gc
import hashlib
import io
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import islice
from math import isfinite
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.runner.runner import collect_env
from mmengine.utils import import_modules_from_strings
from mmpretrain.utils import register_all_modules

from vptx.cache import locate
from vptx.checkpoint import last_checkpoint
from vptx.configs import make_runner
from vptx.datasets.coop import COOP
from vptx.files import alone, read_json, write_whole
from vptx.hooks.test_curve_hook import TestCurveHook
from vptx.registry import MAPPINGS, NETS, PROMPTERS
from vptx.studies.records import as_record, config_text

__all__ = [
    'Point',
    'Run',
    'Trial',
    'keep_apart',
    'length',
    'metric_of',
    'name_of',
    'side_by_side',
    'transfer_loader',
    'write_table',
]

Point = dict[str, Any]
#: Type of an evaluator -> which of its figures runs are compared by.
#: Of HiddenIoUMetric it is that of the classes which are not hidden, as nothing may be chosen on the others.
METRICS = {
    'Accuracy': 'accuracy/top1',
    'BaseToNew': 'base_to_new/H',
    'IoUMetric': 'mIoU',
    'HiddenIoUMetric': 'mIoU_seen',
}
#: Figures of BaseToNew.
PARTS = tuple(f'base_to_new/{part}' for part in ('base', 'new', 'H', 'all'))


@dataclass
class Trial:
    """What a run came to.

    Attributes:
        point: its settings, by their path in the config.
        score: at its end, in per cent, by the config's metric; None if it broke off, with the reason in ``error``.
        trained: number of trained values.
        error: why there is no score.
        stopped: whether a scheduler stopped it, because others did better.
        seed: of the run.
        seconds: it took, in this process, evaluation included; not those before it was resumed.
        megabytes: most memory that it took, of the GPU if there is one, else of the process.
        kilobytes: size of the prompt file.
        figures: all that its evaluators gave.
        transfer: score on the test split of other tasks, those of ``transfer`` in its config.
        curve: score on the test split after epochs, the last of them included, of a config with ``final.curve``.
        processor: seconds of processor time that training took, without tests between epochs; 0 if it was resumed.
    """

    point: Point
    score: float | None
    trained: int = 0
    error: str = ''
    stopped: bool = False
    seed: int | None = None
    seconds: float = 0.0
    megabytes: float = 0.0
    kilobytes: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    transfer: dict[str, float] = field(default_factory=dict)
    curve: list[float] = field(default_factory=list)
    processor: float = 0.0


@dataclass(frozen=True)
class Run:
    """A run to be: a config, and the folder that keeps what it came to.

    Attributes:
        out: folder of all runs.
        name: its folder there.
        config: with everything set but where it is run.
        point: the settings that make it different from the others.
        seen: ``'val'`` or ``'test'``, what its end is judged by.
    """

    out: Path
    name: str
    config: Config = field(compare=False, repr=False)
    point: Point = field(compare=False)
    seen: str
    _read: dict[tuple, Trial] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def folder(self) -> Path:
        return self.out / self.name

    def __str__(self) -> str:
        return self.name

    def read(self) -> Trial | None:
        """What it came to, if it has come to an end. A file that has not changed is not read again.

        Raises:
            ValueError: begins with the file; it is damaged, or of other settings.
        """
        path = self.folder / 'result.json'
        with suppress(FileNotFoundError):
            about = path.stat()
            facts = about.st_ino, about.st_mtime_ns, about.st_size
            if facts in self._read:
                return self._read[facts]
            trial = as_record(Trial, read_json(path), path)
            if trial.point != json.loads(json.dumps(self.point)):
                raise ValueError(f'{path} is of the settings {trial.point}, not of {self.point}')
            lacking = [task for task in self.config.get('transfer') or () if task not in trial.transfer]
            if self.seen == 'test' and metric_of(self.config, 'test') == METRICS['BaseToNew']:
                lacking += [part for part in PARTS if part not in trial.figures]
            if lacking and trial.score is not None:
                raise ValueError(f'{path} is damaged: it has a score and none for {", ".join(lacking)}')
            self._read.clear()
            self._read[facts] = trial
            return trial
        return None

    def write(self, trial: Trial) -> Trial:
        write_whole(self.folder / 'result.json', json.dumps(asdict(trial), indent=1).encode())
        return trial

    def do(self, watch: Callable[[Runner], None] | None = None) -> Trial:
        """Train and judge the end, unless that is done; what was begun is resumed. Keeps the result, and of a run
        judged by the test split its prompt file. One that fails leaves its traceback in ``error.txt``.

        Args:
            watch: called with the Runner before it trains.
        """
        receiver = self.folder / 'error.txt'
        with alone(self.folder):  # a run that outlived the process that started it may still be at it
            done = self.read()
            if done and not done.stopped:
                return done
            receiver.unlink(missing_ok=True)
            try:
                import_modules_from_strings(**self.config.get('custom_imports', dict(imports=[])))  # in a new process
                return self.write(self._do(watch))
            except Exception:
                write_whole(receiver, traceback.format_exc().encode())
                raise

    def _do(self, watch: Callable[[Runner], None] | None) -> Trial:
        config = Config(self.config.to_dict())
        config.work_dir = str(self.folder)
        if last_checkpoint(self.folder) is not None:  # else it begins, with what load_from says
            config.frozen_from = config.get('frozen_from') or config.get('load_from')
            config.resume, config.load_from = True, None
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
        trial = self._train(runner, config)
        trial.seconds, trial.megabytes = time.perf_counter() - started, _peak()
        trial.trained = sum(parameter.numel() for parameter in runner.model.parameters() if parameter.requires_grad)
        prompt = self.folder / 'prompt.safetensors'
        trial.kilobytes = prompt.stat().st_size / 1024 if prompt.is_file() else 0.0
        if prompt.is_file() or trial.error:  # else they are all that is left of the training
            for checkpoint in self.folder.glob('*.pth'):
                checkpoint.unlink()
        if self.seen == 'val':
            prompt.unlink(missing_ok=True)
        return trial

    def _train(self, runner: Runner, config: Config) -> Trial:
        trial = Trial(self.point, None, seed=runner.seed)
        try:
            started = time.process_time()
            runner.train()
            if not config.get('resume'):  # else this process trained a part of it
                trial.processor = time.process_time() - started - TestCurveHook.seconds(runner)
            judged = runner.val() if self.seen == 'val' else runner.test()
            score = float(judged[metric_of(config, self.seen)])  # mmseg gives a number of NumPy
            if isfinite(score):
                trial.score = score
            else:
                trial.error = f'{metric_of(config, self.seen)} is {score}'
            trial.figures = {name: float(value) for name, value in judged.items() if _is_finite(value)}
            if self.seen == 'test':
                metric, before = metric_of(config, 'test'), TestCurveHook.figures(runner)
                trial.curve = [float(found[metric]) for found in [*before, judged]] if before else []
                trial.transfer = {task: _test_on(runner, config, task) for task in config.get('transfer') or ()}
        except FloatingPointError as error:  # a learning rate too high, as grids have them
            trial.error = str(error)
        return trial


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and isfinite(value)


def transfer_loader(config: Config, task: str) -> Any:
    """The test loader of a config on another task, with all of its classes.

    Raises:
        ValueError: an unknown task, or a config whose test data are no ``CoOpTask``.
    """
    loader = deepcopy(config.test_dataloader)
    if loader.dataset.type != 'CoOpTask' or task not in COOP:
        raise ValueError(
            f"transfer to '{task}': it must be a task of CoOpTask, as the test data of the config are, which show "
            f'{loader.dataset.type}. There are: {", ".join(COOP)}'
        )
    loader.dataset.update(task=task, part='all')
    return loader


def _test_on(runner: Runner, config: Config, task: str) -> float:
    """What a model reaches on the test split of another task, whose class names a hook gives it."""
    runner._test_dataloader = transfer_loader(config, task)
    runner._test_evaluator = deepcopy(config.test_evaluator)
    runner._test_loop = deepcopy(config.get('test_cfg') or {})
    return float(runner.test()[metric_of(config, 'test')])


def metric_of(config: Config, split: str) -> str:
    """Which figure of the config's evaluator of ``'val'`` or ``'test'`` runs are compared by.

    Raises:
        ValueError: there is none among those that evaluator gives.
    """
    given = config.get(f'{split}_evaluator') or []
    types = [evaluator['type'] for evaluator in (given if isinstance(given, list) else [given])]
    for kind in types:
        if kind in METRICS:
            return METRICS[kind]
    found = ', '.join(types) or None
    raise ValueError(f'nothing to compare by: {split}_evaluator is {found}, not {" or ".join(METRICS)}')


def length(config: Config) -> int:
    """Epochs of its training, or iterations where it is counted in those."""
    return config.train_cfg.get('max_epochs') or config.train_cfg.max_iters


def side_by_side(todo: Callable[[], Iterable[Run]], jobs: int = 1) -> Iterator[tuple[Run, str]]:
    """Do runs, each in a process of its own; yield each as it ends, with the reason if it has no result.

    Args:
        todo: gives the runs that are to be done, most urgent first; asked again whenever another one can start.
        jobs: how many go side by side; PyTorch's threads are divided among them.

    Raises:
        FileNotFoundError: images or lists that a run needs are not there, for it or for those to come.
        ValueError: no jobs.
    """
    if jobs < 1:
        raise ValueError(f'jobs must be a whole number of at least 1, not {jobs}')
    threads = max(1, torch.get_num_threads() // jobs)
    if _may_fork():
        context: Any = get_context('fork')
        _prepare(todo())
    else:
        context = get_context('spawn')
    running: dict[Any, tuple[Any, Any, Run]] = {}
    try:
        while True:
            busy = {run for *_, run in running.values()}
            for run in list(islice((run for run in todo() if run not in busy), jobs - len(running))):
                receiver, tell = context.Pipe(duplex=False)
                process = context.Process(target=_do, args=(run, threads, tell))
                process.start()
                tell.close()  # is the other's now
                running[process.sentinel] = process, receiver, run
            if not running:
                return
            for sentinel in wait(list(running)):
                process, receiver, run = running.pop(sentinel)
                process.join()
                yield run, _reason(process.exitcode, receiver)
    finally:
        for process, *_ in running.values():
            process.terminate()


def _may_fork() -> bool:
    """Whether what is forked can train: not with CUDA, nor where autograd has started threads.

    It does so at the first backward pass of a process, for each GPU that it then sees. From the first model on that is
    compiled or exported without a GPU, PyTorch pretends to have one, and autograd sees that, too.
    """
    if torch.cuda.is_available():
        return False
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(RuntimeError):
            torch.zeros(1, requires_grad=True).backward()
            status = 0
        os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def _prepare(runs: Iterable[Run]) -> None:
    """Import, find out and format, in the process that is forked, what each run would."""
    register_all_modules(init_default_scope=False)
    for registry in (NETS, PROMPTERS, MAPPINGS):
        registry.import_from_location()
    collect_env()
    for run in islice(runs, 1):
        run.config.pretty_text  # noqa: B018, most settings are the same in all


def _do(run: Run, threads: int, tell: Any) -> None:
    """In a process of its own; all output goes to the log."""
    gc.freeze()  # what the parent has left is not collected here: some of it waits for threads that a fork has not
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / 'log.txt').open('a') as log:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        sys.stdout = sys.stderr = log
        torch.set_num_threads(threads)
        try:
            run.do()
        except Exception as error:
            tell.send((isinstance(error, FileNotFoundError), f'{error}', type(error).__name__))
            raise SystemExit(1) from None


def _reason(status: int, receiver: Any) -> str:
    """Why a process has left no result, if it has not."""
    if status == 0:
        return ''
    try:
        nothing_there, message, kind = receiver.recv()
    except EOFError:
        return f'killed by signal {-status}' if status < 0 else f'exit status {status}'
    if nothing_there:
        raise FileNotFoundError(message)
    return f'{kind}: {message}'


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
    record, facts = folder / 'config.json', {}
    weights = config.model.backbone.get('net', {}).get('weights')
    with suppress(FileNotFoundError):  # what 'make real' has not fetched yet
        if weights and locate(weights).is_file():
            facts['weights'] = hashlib.sha256(locate(weights).read_bytes()).hexdigest()
    text = config_text(config, **facts)
    older = folder / 'config.py'  # of a version that kept it as Python; compared and never run
    changed = (
        record.read_bytes() != text.encode()
        if record.is_file()
        else older.is_file() and not older.read_text().startswith(config.pretty_text)
    )
    if changed:
        raise ValueError(
            f'{folder} holds runs of another version of this config or its weights, or its {record.name} is damaged: '
            'remove the folder, or give another --out'
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
