"""The paper's protocol: a grid on the images to train on, chosen by those to choose by, then the test split.

    selection:  train on 'train', last epoch judged on 'val', every point of the grid, one seed
    final:      train on ``final.split`` at the chosen point, last epoch judged on 'test', every seed of ``final.seeds``

What is compared, and so chosen by nobody, are configs, tasks and the ``variants`` of a config: settings by name, with a
study, selection and final runs, for each of them.

A run of the selection is built without a test split: there is none that it could see.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from itertools import product
from math import ceil
from pathlib import Path
from statistics import mean
from typing import Any

from mmengine.config import Config

from vptx.analysis.results import spread, table
from vptx.analysis.trials import Point, Run, Trial, keep_apart, name_of, write_table
from vptx.cli import keep_features, read_config
from vptx.datasets import TASKS, set_task
from vptx.files import write_whole

__all__ = [
    'Outcome',
    'Study',
    'experiment',
    'families',
    'final_config',
    'group_means',
    'markdown',
    'points',
    'report',
    'selection_config',
    'studies',
]


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
    for unused in ('grid', 'method_grid', 'final', 'variants'):
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
class Outcome:
    """What a method reached on a task.

    Attributes:
        method: name of the config, and of its variant.
        task: of the table, or the config's data set.
        point: what validation chose; None where no point came to an end.
        val: accuracy there, in per cent.
        test: of each seed, in per cent.
        trained: number of trained values.
        diverged: points of the grid that broke off.
        stopped: points of the grid that a scheduler stopped, because others did better.
        missing: runs without a result, by name.
        variant: of the config, if it has some.
    """

    method: str
    task: str
    point: Point | None
    val: float
    test: list[float] = field(default_factory=list)
    trained: int = 0
    diverged: int = 0
    stopped: int = 0
    missing: list[str] = field(default_factory=list)
    variant: str = ''

    @property
    def config(self) -> str:
        """Name of the config alone."""
        return self.method.removesuffix(f'_{self.variant}') if self.variant else self.method


class Study:
    """A config, or one of its variants, on a task: its runs, and what they say.

    Raises:
        ValueError: a config without ``final``, a grid that is none, an unknown task, or a folder that holds runs of a
            config or of weights that have changed since.
    """

    def __init__(
        self,
        path: str | Path,
        task: str | None,
        out: str | Path,
        options: Mapping[str, Any],
        variant: str = '',
        features: str | Path | None = None,
        net: str | None = None,
    ) -> None:
        self.config = read_config(path, net)
        if task is not None:
            set_task(self.config, task)
        if variant:
            self.config.merge_from_dict(deepcopy(self.config.variants[variant]))
        self.config.merge_from_dict(dict(options))
        if not self.config.get('final'):
            raise ValueError(f"{path} has no final=dict(split='trainval', seeds=[...]): what to report is not said")
        dataset = self.config.train_dataloader.dataset
        self.variant = variant
        self.method = '_'.join(filter(None, (net, Path(path).stem, variant)))
        self.task = task or dataset.get('task') or dataset.type
        self.out, self.name = Path(out), f'{self.method}/{self.task}'
        # A wider grid, more seeds and more variants add runs; they and kept features change none.
        added = ('grid', 'method_grid', 'variants')
        record = Config({k: v for k, v in self.config.to_dict().items() if k not in added})
        record.final = dict(split=self.config.final.split)
        if features is not None:
            keep_features(self.config, features, required=False)
        self.selection = [
            Run(self.out, f'{self.name}/select/{name_of(point)}', selection_config(self.config, point), point, 'val')
            for point in points(self.config)
        ]
        keep_apart(record, self.out / self.name)

    def best(self) -> Trial | None:
        """The best on validation of those that came to an end; ties go to the smaller rate, then to the first point."""
        ended = [trial for run in self.selection if (trial := run.read()) and trial.accuracy is not None]
        return min(ended, key=lambda trial: (-trial.accuracy, trial.point.get('base_lr', 0)), default=None)

    def final(self) -> list[Run]:
        """The runs on the test split, once validation has chosen."""
        best = self.best()
        if best is None:
            return []
        name = f'{self.name}/final/{name_of(best.point)}'
        return [
            Run(self.out, f'{name}/seed{seed}', final_config(self.config, best.point, seed), best.point, 'test')
            for seed in self.config.final.seeds
        ]

    def trials(self) -> list[tuple[Run, Trial]]:
        """All runs that have a result, with it."""
        return [(run, trial) for run in [*self.selection, *self.final()] if (trial := run.read())]

    def outcome(self) -> Outcome:
        """What is known so far."""
        tried = [trial for run in self.selection if (trial := run.read())]
        best, final = self.best(), self.final()
        ended = [trial for run in final if (trial := run.read()) and trial.accuracy is not None]
        return Outcome(
            self.method,
            self.task,
            best.point if best else None,
            float(best.accuracy or 0) if best else 0.0,
            [float(trial.accuracy or 0) for trial in ended],
            trained=best.trained if best else 0,
            diverged=sum(trial.accuracy is None and not trial.stopped for trial in tried),
            stopped=sum(trial.stopped for trial in tried),
            missing=[
                run.name.removeprefix(f'{self.name}/')
                for run in [*self.selection, *final]
                if (trial := run.read()) is None or (run.seen == 'test' and trial.accuracy is None)
            ],
            variant=self.variant,
        )


def studies(
    configs: Sequence[str | Path],
    out: str | Path,
    tasks: Sequence[str | None] = (None,),
    options: Mapping[str, Any] | None = None,
    features: str | Path | None = None,
    nets: Sequence[str | None] = (None,),
) -> list[Study]:
    """A study for each net, config, variant of it, and task. All are read before one is run: a mistake is told at once.

    Args:
        configs: config files with ``grid``, maybe ``method_grid`` and ``variants``, and
            ``final=dict(split=..., seeds=[...])``.
        out: folder of the runs.
        tasks: names in :data:`~vptx.datasets.suites.TASKS`; None is the config's own; ``['all']`` is every task of
            the suite of the first config.
        options: settings to override in every config, ``{'key.of.setting': value}``.
        features: folder of features that frozen networks make of images (:class:`~vptx.hooks.FeatureCacheHook`), where
            a config has such a network; None computes them in every epoch.
        nets: names of files in ``_base_/nets``, each put in place of the configs' own; None is their own.

    Raises:
        ValueError: of :class:`Study`; no such net; ``'all'`` where the first config's data are no task of a suite.
    """
    if list(tasks) == ['all']:
        own = Config.fromfile(configs[0]).train_dataloader.dataset.get('task')
        if own is None:
            raise ValueError(f"tasks 'all': {configs[0]} is of no suite of tasks")
        tasks = [name for name, task in TASKS.items() if task.suite == TASKS[own].suite]
    return [
        Study(path, task, out, options or {}, variant, features, net)
        for net, path, task in product(nets, configs, tasks)
        for variant in Config.fromfile(path).get('variants') or ['']
    ]


def report(found: Sequence[Study], out: str | Path) -> list[Outcome]:
    """What is known so far; left in ``out`` as ``results.json``, ``results.md`` and, run by run, ``trials.csv``."""
    outcomes = [study.outcome() for study in found]
    write_whole(Path(out, 'results.json'), json.dumps([asdict(o) for o in outcomes], indent=1).encode())
    write_whole(Path(out, 'results.md'), f'{markdown(outcomes)}\n'.encode())
    rows = []
    for study in found:
        for run, trial in study.trials():
            facts = asdict(trial)
            rows.append(dict(config=study.method, task=study.task, split=run.seen, **facts.pop('point'), **facts))
    write_table(Path(out, 'trials.csv'), rows)
    return outcomes


def experiment(found: Sequence[Study], out: str | Path) -> list[Outcome]:
    """Run studies by the protocol at the head of this file, one run after the other.

    What is finished is kept and not run again; :func:`report` leaves in ``out`` what is known so far.

    Raises:
        FileNotFoundError: images or lists that are not there; the test split's only when its turn has come.
        ValueError: no point of a grid came to an end, or the chosen one did not with another seed.
    """
    for i, study in enumerate(found):
        for run in study.selection:
            trial = run.do()
            print(f'{run}: {trial.error or f"{trial.accuracy:.1f} % on val"}', flush=True)
        if not study.final():
            first = study.selection[0].read()
            raise ValueError(
                f'{study.name}: no point of the grid came to an end, the first because {first and first.error}'
            )
        for run in study.final():
            trial = run.do()
            if trial.accuracy is None:
                raise ValueError(f'{run}: the chosen point broke off with this seed: {trial.error}')
        report(found[: i + 1], out)
    return [study.outcome() for study in found]


def group_means(reached: Mapping[str, float]) -> dict[str, float]:
    """Means of one method's test accuracies, by task, over a suite, in per cent: of each group that is complete and,
    where all groups of several are, both means that papers report, of the groups and of the tasks."""
    reached = {task: value for task, value in reached.items() if task in TASKS}
    groups: dict[str, list[str]] = {}
    for name, task in TASKS.items():
        if task.suite in {TASKS[found].suite for found in reached}:
            groups.setdefault(task.group, []).append(name)
    means = {
        group: mean(reached[name] for name in names) for group, names in groups.items() if reached.keys() >= set(names)
    }
    if len(groups) > 1 and means.keys() == groups.keys():
        means['mean of groups'] = mean(means.values())
        means['mean of tasks'] = mean(reached.values())
    return means


def families(outcomes: Sequence[Outcome]) -> dict[tuple[str, ...], list[str]]:
    """Variants, in order -> the configs that have them. Such configs stand in one table."""
    variants: dict[str, dict[str, None]] = {}
    for o in outcomes:
        if o.variant:
            variants.setdefault(o.config, {})[o.variant] = None
    found: dict[tuple[str, ...], list[str]] = {}
    for config, names in variants.items():
        found.setdefault(tuple(names), []).append(config)
    return found


def _side_by_side(outcomes: Sequence[Outcome], variants: Sequence[str], configs: Sequence[str]) -> str:
    """A row for each config and task, a column for each variant."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for o in outcomes:
        if o.config in configs and o.variant:
            rows.setdefault((o.config, o.task), {})[o.variant] = spread(o.test)
    lines = [[*row, *(found.get(variant, '') for variant in variants)] for row, found in rows.items()]
    return table(['test %, mean (range)', 'task', *variants], lines, text=2)


def markdown(outcomes: Sequence[Outcome]) -> str:
    """A table: mean (lowest to highest) over the seeds, and what validation chose; then the means over tasks. Before
    it, where configs have variants, those beside each other."""
    lines = [f'{_side_by_side(outcomes, *family)}\n' for family in families(outcomes).items()]
    lines += [
        '| config | task | chosen on val | val % | test %, mean (range) | trained |',
        '|---|---|---|---:|---:|---:|',
    ]
    lines += [
        f'| {o.method} | {o.task} | {"none" if o.point is None else name_of(o.point).replace("_", " ")} | {o.val:.1f} '
        f'| {spread(o.test)} | {o.trained:,} |'
        for o in outcomes
    ]
    for method in dict.fromkeys(o.method for o in outcomes):
        means = group_means({o.task: mean(o.test) for o in outcomes if o.method == method and o.test})
        if means:
            lines += ['', f'{method}: ' + ', '.join(f'{name} {value:.2f}' for name, value in means.items())]
    lines += [f'\nNot there: {o.method} {o.task} {", ".join(o.missing)}' for o in outcomes if o.missing]
    return '\n'.join(lines)
