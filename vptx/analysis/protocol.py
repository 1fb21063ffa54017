"""The paper's protocol: a grid on the images to train on, chosen by those to choose by, then the test split.

    selection:  train on 'train', last epoch judged on 'val', every point of the grid, one seed
    final:      train on ``final.split`` at the chosen point, last epoch judged on 'test', every seed of ``final.seeds``

A run of the selection is built without a test split: there is none that it could see.
"""

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import product
from math import ceil
from pathlib import Path
from statistics import mean
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope

from vptx.cli import make_runner
from vptx.datasets import TASKS, set_task
from vptx.files import write_whole

__all__ = ['Outcome', 'Trial', 'experiment', 'final_config', 'group_means', 'markdown', 'points', 'selection_config']

METRIC = 'accuracy/top1'
Point = dict[str, Any]


def points(config: Config) -> list[Point]:
    """Every point of a config's grid: settings by their path in the config, the smallest learning rates first.

    ``grid`` and ``method_grid`` are dicts of axes. An axis named by a path holds values of that setting; any other
    holds dicts of settings that go together. ``base_lr`` is the learning rate of 256 images: at a point with batch b,
    ``optim_wrapper.optimizer.lr = base_lr * b / 256``.

    Raises:
        ValueError: an axis without values, or one whose values are no settings.
    """
    axes = {**config.get('grid', {}), **config.get('method_grid', {})}
    choices = []
    for name, values in axes.items():
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            raise ValueError(f"grid: '{name}' must be a list of at least one value, not {values!r}")
        if name == 'base_lr' or '.' in name:
            choices.append([{name: value} for value in sorted(values)])
        elif all(isinstance(value, Mapping) for value in values):
            choices.append([dict(value) for value in values])
        else:
            raise ValueError(f"grid: '{name}' is no path of a setting, so its values must be dicts of settings")
    return [{name: value for part in parts for name, value in part.items()} for parts in product(*choices)]


def _at(config: Config, point: Point) -> Config:
    config = Config(deepcopy(config.to_dict()))
    settings = {name: value for name, value in point.items() if name != 'base_lr'}
    config.merge_from_dict(settings)
    if 'base_lr' in point:
        config.optim_wrapper.optimizer.lr = point['base_lr'] * config.train_dataloader.batch_size / 256
    for unused in ('grid', 'method_grid', 'final'):
        config.pop(unused, None)
    config.train_cfg.val_interval = config.train_cfg.max_epochs + 1  # the last epoch is judged once, by us
    config.launcher = 'none'
    if config.get('visualizer'):
        config.visualizer.vis_backends = []
    if config.get('default_hooks', {}).get('checkpoint'):  # hundreds of runs, some of the whole network
        config.default_hooks.checkpoint.interval = ceil(config.train_cfg.max_epochs / 10)
    return config


def _without(config: Config, name: str) -> None:
    for part in ('dataloader', 'evaluator', 'cfg'):
        config[f'{name}_{part}'] = None


def selection_config(config: Config, point: Point) -> Config:
    """What a point of the grid is judged by: no test split is in it."""
    config = _at(config, point)
    _without(config, 'test')
    return config


def final_config(config: Config, point: Point, seed: int) -> Config:
    """What the chosen point is reported by: no validation is in it, whose images may train."""
    split = config.final.split
    config = _at(config, point)
    _without(config, 'val')
    config.train_dataloader.dataset.split = split
    config.randomness = dict(seed=seed)
    return config


@dataclass
class Trial:
    """A run that came to an end.

    Attributes:
        point: its settings.
        accuracy: of the last epoch, in per cent; None if it broke off, with the reason in ``error``.
        trained: number of trained values.
    """

    point: Point
    accuracy: float | None
    trained: int = 0
    error: str = ''


@dataclass
class Outcome:
    """What a method reached on a task.

    Attributes:
        method: name of the config.
        task: of the table, or the config's data set.
        point: what validation chose.
        val: accuracy there, in per cent.
        test: of each seed, in per cent.
        trained: number of trained values.
        diverged: points of the grid that broke off.
    """

    method: str
    task: str
    point: Point
    val: float
    test: list[float] = field(default_factory=list)
    trained: int = 0
    diverged: int = 0


def _name(point: Point) -> str:
    """The point as the name of a folder: the last word of each path, and its value."""
    parts = [f'{key.rpartition(".")[2]}={value}' for key, value in point.items()]
    return re.sub(r'[^\w.=+-]', '-', '_'.join(parts)) or 'as_it_is'


def _run(config: Config, point: Point, folder: Path, seen: str) -> Trial:
    """Train, unless that is done; judge the last epoch by ``seen``, 'val' or 'test'; keep the result, drop the rest."""
    result = folder / 'result.json'
    if result.is_file():
        return Trial(**json.loads(result.read_text()))
    config.work_dir, config.resume, config.load_from = str(folder), True, None
    config.experiment_name = '_'.join(folder.parts[-4:])
    DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmpretrain'))
    runner = make_runner(config)
    trial = Trial(point, None)
    try:
        runner.train()
        trial.accuracy = runner.val()[METRIC] if seen == 'val' else runner.test()[METRIC]
    except FloatingPointError as error:  # a learning rate too high, as grids have them
        trial.error = str(error)
    trial.trained = sum(parameter.numel() for parameter in runner.model.parameters() if parameter.requires_grad)
    write_whole(result, json.dumps(asdict(trial), indent=1).encode())
    for checkpoint in folder.glob('*.pth'):
        checkpoint.unlink()
    if seen == 'val':  # a final run leaves its prompt file
        (folder / 'prompt.safetensors').unlink(missing_ok=True)
    return trial


def _keep_apart(config: Config, folder: Path) -> None:
    """Refuse to mix runs of a config with those of the same config before it was changed."""
    record = folder / 'config.py'
    if record.is_file() and record.read_text() != config.pretty_text:
        raise ValueError(f'{folder} holds runs of another version of this config: remove it, or give another --out')
    write_whole(record, config.pretty_text.encode())


def _experiment(config: Config, method: str, task: str, folder: Path) -> Outcome:
    _keep_apart(config, folder)
    trials = []
    for point in points(config):
        trial = _run(selection_config(config, point), point, folder / 'select' / _name(point), 'val')
        print(f'{method} {task} {_name(point)}: {trial.error or f"{trial.accuracy:.1f} % on val"}', flush=True)
        trials.append(trial)
    ended = [trial for trial in trials if trial.accuracy is not None]
    if not ended:
        raise ValueError(f'{folder}: no point of the grid came to an end, the first because {trials[0].error}')
    best = min(ended, key=lambda trial: (-float(trial.accuracy or 0), trial.point.get('base_lr', 0)))
    outcome = Outcome(method, task, best.point, float(best.accuracy or 0), diverged=len(trials) - len(ended))
    for seed in config.final.seeds:
        trial = _run(final_config(config, best.point, seed), best.point, folder / 'final' / f'seed{seed}', 'test')
        if trial.accuracy is None:
            raise ValueError(f'{folder}: at the chosen point the run of seed {seed} broke off: {trial.error}')
        outcome.test.append(trial.accuracy)
        outcome.trained = trial.trained
    return outcome


def experiment(
    configs: Sequence[str | Path],
    out: str | Path,
    tasks: Sequence[str | None] = (None,),
    options: Mapping[str, Any] | None = None,
) -> list[Outcome]:
    """Each config on each task, by the protocol at the head of this file.

    Ties go to the smaller learning rate, then to the first point. What is finished is kept under ``out`` and not run
    again; ``results.json`` and ``results.md`` there have what is known so far.

    Args:
        configs: config files with ``grid``, maybe ``method_grid``, and ``final=dict(split=..., seeds=[...])``.
        out: folder of the runs.
        tasks: names in :data:`~vptx.datasets.benchmarks.TASKS`; None is the config's own.
        options: settings to override in every config, ``{'key.of.setting': value}``.

    Raises:
        FileNotFoundError: images or lists that are not there; the test split's only when its turn has come.
        ValueError: an unknown task, a config without ``final``, a grid that is none, no point that came to an end, or
            ``out`` holds runs of a config that has changed since.
    """
    todo = []
    for path, task in product(configs, tasks):  # all are read before one is run: a mistake is told at once
        config = Config.fromfile(path)
        if task is not None:
            set_task(config, task)
        config.merge_from_dict(dict(options or {}))
        if not config.get('final'):
            raise ValueError(f"{path} has no final=dict(split='trainval', seeds=[...]): what to report is not said")
        points(config)
        dataset = config.train_dataloader.dataset
        todo.append((config, Path(path).stem, task or dataset.get('task') or dataset.type))
    outcomes: list[Outcome] = []
    for config, method, name in todo:
        outcomes.append(_experiment(config, method, name, Path(out, method, name)))
        write_whole(Path(out, 'results.json'), json.dumps([asdict(o) for o in outcomes], indent=1).encode())
        write_whole(Path(out, 'results.md'), f'{markdown(outcomes)}\n'.encode())
    return outcomes


def group_means(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Means of one method's test accuracies over tasks, in per cent: of each group that is complete, and, of VTAB-1k
    complete, both means that papers report, of the three groups and of the 19 tasks."""
    reached = {o.task: mean(o.test) for o in outcomes if o.task in TASKS and o.test}
    means = {}
    for group in ('Natural', 'Specialized', 'Structured', 'FGVC'):
        names = [name for name, task in TASKS.items() if task.group == group]
        if reached.keys() >= set(names):
            means[group] = mean(reached[name] for name in names)
    vtab = [name for name, task in TASKS.items() if task.suite == 'vtab']
    if reached.keys() >= set(vtab):
        means['mean of groups'] = mean(means[group] for group in ('Natural', 'Specialized', 'Structured'))
        means['mean of tasks'] = mean(reached[name] for name in vtab)
    return means


def markdown(outcomes: Sequence[Outcome]) -> str:
    """A table: mean (lowest to highest) over the seeds, and what validation chose; then the means over tasks."""
    lines = [
        '| config | task | chosen on val | val % | test %, mean (range) | trained |',
        '|---|---|---|---:|---:|---:|',
    ]
    lines += [
        f'| {o.method} | {o.task} | {_name(o.point).replace("_", " ")} | {o.val:.1f} | {mean(o.test):.1f} '
        f'({min(o.test):.1f} to {max(o.test):.1f}) | {o.trained:,} |'
        for o in outcomes
    ]
    for method in dict.fromkeys(o.method for o in outcomes):
        means = group_means([o for o in outcomes if o.method == method])
        if means:
            lines += ['', f'{method}: ' + ', '.join(f'{name} {value:.2f}' for name, value in means.items())]
    return '\n'.join(lines)
