"""The paper's protocol: a grid on the training images, selected on the validation images, then the test split.

    selection:  train on 'train', the end judged on 'val', every point of the grid, one seed
    final:      train on ``final.split`` at the chosen point, the end judged on 'test', every seed of ``final.seeds``

A config without ``grid`` gets one of learning rates alone, multiples of its own; while the best is at an end, the grid
grows there. An empty grid is one point, the config as it is. One without ``final`` trains on the same images again.
``final.new_subsets`` draws other images for each seed, ``final.validation`` leaves validation images to final runs that
choose something on them by themselves, and ``final.transfer`` names tasks on whose test splits the final models are
tested, too. With ``final.curve``, the number of an epoch, final runs are tested after that epoch and each later one as
well, which chooses nothing: a report says by how much the best of the epochs is above the last.

What is compared, and not selected from, are configs, nets, tasks and the ``variants`` of a config: settings by name,
with a study, selection and final runs, for each of them.

A run of the selection is built without a test split: there is none that it could see.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from math import ceil, isfinite
from pathlib import Path
from typing import Any

from mmengine.config import Config

from vptx.configs import keep_features, read_config
from vptx.datasets import TASKS, set_task
from vptx.files import write_whole
from vptx.hooks.data_guard_hook import check_config
from vptx.settings import check_options
from vptx.studies.figures import draw_comparison, png
from vptx.studies.results import Outcome, markdown
from vptx.studies.trials import (
    PARTS,
    Point,
    Run,
    Trial,
    keep_apart,
    length,
    metric_of,
    name_of,
    side_by_side,
    transfer_loader,
    write_table,
)

__all__ = [
    'FACTORS',
    'Study',
    'check_data',
    'experiment',
    'final_config',
    'points',
    'report',
    'selection_config',
    'studies',
]

#: Of the learning rate of a config that has no grid.
FACTORS = (0.3, 1, 3)
#: The axis that they make, next to which there is no other.
RATE = 'optim_wrapper.optimizer.lr'
#: How many rates such a grid may grow by: where nothing is learnt the best is anywhere, and there has to be an end.
GROWS = 3
#: Of the runs on the test split, where the config says nothing.
SEEDS = (42, 43, 44)


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
    check_options(config, settings, 'grid:')
    config.merge_from_dict(settings)
    if 'base_lr' in point:
        config.optim_wrapper.optimizer.lr = point['base_lr'] * config.train_dataloader.batch_size / 256
    for unused in ('grid', 'method_grid', 'final', 'variants'):
        config.pop(unused, None)
    config.train_cfg.val_begin = length(config) + 1  # the end is judged once, by us
    config.launcher = 'none'
    if config.get('visualizer'):
        config.visualizer.vis_backends = []
    if config.get('default_hooks', {}).get('checkpoint'):  # hundreds of runs, some of the whole network
        config.default_hooks.checkpoint.interval = ceil(length(config) / 10)
    return config


def _without(config: Config, name: str) -> None:
    for part in ('dataloader', 'evaluator', 'cfg'):
        config[f'{name}_{part}'] = None


def selection_config(config: Config, point: Point) -> Config:
    """What a point of the grid is judged by: no test split is in it."""
    seeds = (config.get('final') or {}).get('seeds', SEEDS)
    config = _at(config, point)
    _without(config, 'test')
    if config.get('randomness', {}).get('seed') is None:  # rates are compared by the same seed
        config.randomness = {**config.get('randomness', {}), 'seed': seeds[0]}
    return config


def final_config(config: Config, point: Point, seed: int) -> Config:
    """What the chosen point is reported by: no validation is in it, whose images may train, but for a method that
    chooses on them by itself."""
    final = config.get('final') or {}
    config = _at(config, point)
    if not final.get('validation'):
        _without(config, 'val')
    if final.get('split'):
        config.train_dataloader.dataset.split = final['split']
    if final.get('new_subsets'):
        config.train_dataloader.dataset.subset.seed = seed
    if final.get('curve'):
        config.custom_hooks = [*(config.get('custom_hooks') or []), dict(type='TestCurveHook', begin=final.curve)]
    if final.get('transfer'):
        config.transfer = list(final['transfer'])
    config.randomness = {**config.get('randomness', {}), 'seed': seed}
    return config


class Study:
    """A config, or one of its variants, with a net on a task: its runs, and what they say.

    Args:
        path: the config file.
        task: a name in ``TASKS``; None is the config's own.
        out: folder of the runs.
        options: settings to override, ``{'key.of.setting': value}``.
        variant: a name in the config's ``variants``; empty for none.
        features: folder of features that the frozen network makes of images; None computes them in every epoch.
        net: name of a file in ``_base_/nets``, in place of the config's own; None is its own.
        factors: of the config's learning rate, for a config without a grid; by default ``FACTORS``.
        seeds: of the runs on the test split; by default what the config says, or ``SEEDS``.

    Raises:
        ValueError: a grid that is none, factors next to a grid, an unknown task, an evaluator with nothing to choose
            by, final runs that would choose on images that they train on, or a folder that holds runs of a config or of
            weights that have changed since.
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
        factors: Sequence[float] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> None:
        self.config = config = read_config(path, net)
        if variant:
            check_options(config, config.variants[variant], f"variant '{variant}':")
            config.merge_from_dict(deepcopy(config.variants[variant]))
        if task is not None:  # of a variant's head or mapping, too
            set_task(config, task)
        check_options(config, options)
        config.merge_from_dict(dict(options))
        self.leaf, self.net, self.variant = Path(path).stem, net or '', variant
        self.method = '_'.join(filter(None, (self.net, self.leaf, variant)))
        dataset = config.train_dataloader.dataset
        self.task = task or dataset.get('task') or dataset.type
        self.out, self.name = Path(out), f'{self.method}/{self.task}'
        self._runs: dict[str, Run] = {}
        try:
            self.metric = metric_of(config, 'test')
            metric_of(config, 'val')
        except ValueError as error:
            raise ValueError(f'{self.method}: {error}') from error
        # A wider grid, more seeds and more variants add runs; they and kept features change none.
        added = ('grid', 'method_grid', 'variants')
        record = Config({k: v for k, v in config.to_dict().items() if k not in added})
        final = config.get('final') or {}
        if final:
            record.final = {key: value for key, value in final.items() if key != 'seeds'}
        config.final = {**final, 'seeds': list(seeds or final.get('seeds', SEEDS))}
        for other in final.get('transfer') or ():
            transfer_loader(config, other)
        if final.get('validation') and final.get('split') not in (None, 'train'):
            raise ValueError(
                f"{path}: final.validation chooses on images on which final.split='{final['split']}' trains: set "
                "final.split='train'"
            )
        self.grows = False
        if 'grid' not in config:
            rate, self.grows = config.optim_wrapper.optimizer.lr, factors is None
            config.pop('method_grid', None)  # is the protocol's, next to its grid; the config says what it takes else
            config.grid = {RATE: [rate * factor for factor in sorted(set(factors or FACTORS))]}
        elif factors:
            raise ValueError(f'{path} has a grid of its own, which factors of the learning rate have no place in')
        points(config)
        if features is not None:
            keep_features(config, features, required=False)
        keep_apart(record, self.out / self.name)

    def selection(self) -> list[Run]:
        """The runs that validation chooses from; a default grid grows where the best is at its end."""
        runs = [self._select(point) for point in points(self.config)]
        for _ in range(GROWS if self.grows else 0):
            trials = [run.read() for run in runs]
            if None in trials:
                break
            best = _best(trials)
            if best is trials[-1]:
                runs.append(self._beyond(runs[-1], runs[-2]))
            elif best is trials[0]:
                runs.insert(0, self._beyond(runs[0], runs[1]))
        return runs

    def _beyond(self, last: Run, inner: Run) -> Run:
        return self._select({RATE: last.point[RATE] ** 2 / inner.point[RATE]})

    def _select(self, point: Point) -> Run:
        return self._run(f'select/{name_of(point)}', point, 'val', partial(selection_config, self.config, point))

    def _run(self, name: str, point: Point, seen: str, config: Callable[[], Config]) -> Run:
        """Its config is made once: a command that runs many studies asks after each run what is left of all of them."""
        key = f'{name} {point!r}'
        if key not in self._runs:
            self._runs[key] = Run(self.out, f'{self.name}/{name}', config(), point, seen)
        return self._runs[key]

    def best(self) -> Trial | None:
        """The best on validation of those that came to an end; ties go to the smaller rate, then to the first point."""
        return _best(run.read() for run in self.selection())

    def final(self) -> list[Run]:
        """The runs on the test split, once validation has chosen."""
        best = self.best()
        if best is None:
            return []
        name, point = f'final/{name_of(best.point)}', best.point
        return [
            self._run(f'{name}/seed{seed}', point, 'test', partial(final_config, self.config, point, seed))
            for seed in self.config.final.seeds
        ]

    def todo(self, failed: Collection[str] = (), stopped: bool = True) -> list[Run]:
        """Runs that have no result, as far as they are known: those on the test split wait for the choice.

        Args:
            failed: names of runs that are not to be tried again.
            stopped: whether one that a scheduler stopped is to be run to its end.
        """
        for runs in (self.selection, self.final):
            missing = [
                run
                for run in runs()
                if ((trial := run.read()) is None or (trial.stopped and stopped)) and run.name not in failed
            ]
            if missing:
                return missing
        return []

    def trials(self) -> list[tuple[Run, Trial]]:
        """All runs that have a result, with it."""
        return [(run, trial) for run in [*self.selection(), *self.final()] if (trial := run.read())]

    def outcome(self) -> Outcome:
        """What is known so far."""
        selection, final = self.selection(), self.final()
        tried = [trial for run in selection if (trial := run.read())]
        best = _best(tried)
        ended = [trial for run in final if (trial := run.read()) and trial.score is not None]
        missing = [
            run.name.removeprefix(f'{self.name}/')
            for run in [*selection, *final]
            if (trial := run.read()) is None or (run.seen == 'test' and trial.score is None)
        ]
        if not missing and best is None:
            missing = [f'final, for no point of the grid came to an end: {tried[0].error}']
        found = Outcome(self.leaf, self.task, net=self.net, variant=self.variant, missing=missing)
        found.metric = self.metric.removesuffix('/top1').rpartition('/')[2]
        found.diverged = sum(trial.score is None and not trial.stopped for trial in tried)
        found.stopped = sum(trial.stopped for trial in tried)
        if best is not None:
            rates = {rate_of(trial.point) for trial in tried}
            found.point, found.val, found.trained = best.point, float(best.score or 0), best.trained
            found.at_edge = len(rates) > 1 and rate_of(best.point) in (min(rates), max(rates))
            found.test = [float(trial.score or 0) for trial in ended]
            found.kilobytes = max((trial.kilobytes for trial in ended), default=0.0)
            if found.metric == 'H':
                found.parts = {part.partition('/')[2]: [trial.figures[part] for trial in ended] for part in PARTS}
        return found

    def outcomes(self) -> list[Outcome]:
        """What is known so far, on its own task and on those that it is transferred to."""
        own = self.outcome()
        ended = [trial for run in self.final() if (trial := run.read()) and trial.score is not None]
        return [own] + [
            replace(own, task=task, test=[trial.transfer[task] for trial in ended], kilobytes=0.0)
            for task in self.config.final.get('transfer') or ()
        ]


def rate_of(point: Point) -> float:
    """Its learning rate, as the grid says it; 0 where that is no axis."""
    return float(point.get('base_lr') or point.get(RATE) or 0)


def _best(trials: Iterable[Trial | None]) -> Trial | None:
    ended = [trial for trial in trials if trial and trial.score is not None and isfinite(trial.score)]
    return min(ended, key=lambda trial: (-trial.score, rate_of(trial.point)), default=None)


def studies(
    configs: Sequence[str | Path],
    out: str | Path,
    tasks: Sequence[str | None] = (None,),
    options: Mapping[str, Any] | None = None,
    features: str | Path | None = None,
    nets: Sequence[str | None] = (None,),
    factors: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Study]:
    """A study for each net, config, variant of it, and task, in this order: what has ended is a table of whole methods.
    All are read before one is run, so that a mistake is reported at once.

    Args:
        configs: config files; ``grid``, ``method_grid``, ``variants`` and ``final`` in them are explained in
            ``docs/experiment.md``.
        out: folder of the runs.
        tasks: names in ``TASKS``; None is the config's own; ``['all']`` is every task of
            the suite of the first config.
        options: settings to override in every config, ``{'key.of.setting': value}``.
        features: folder of features that frozen networks make of images (``FeatureCacheHook``), where
            a config has such a network; None computes them in every epoch.
        nets: names of files in ``_base_/nets``, each put in place of the configs' own; None is their own.
        factors: of each config's learning rate, these and no others, for configs without a grid; by default
            ``FACTORS``, and more while the best is at an end, up to ``GROWS``.
        seeds: of the runs on the test split; by default what the config says, or ``SEEDS``.

    Raises:
        ValueError: of ``Study``; no such net; ``'all'`` where the first config's data are no task of a suite.
    """
    if list(tasks) == ['all']:
        own = read_config(configs[0]).train_dataloader.dataset.get('task')
        if own is None:
            raise ValueError(f"tasks 'all': {configs[0]} is of no suite of tasks")
        tasks = [name for name, task in TASKS.items() if task.suite == TASKS[own].suite]
    return [
        Study(path, task, out, options or {}, variant, features, net, factors, seeds)
        for net, path in product(nets, configs)
        for variant in read_config(path).get('variants') or ['']
        for task in tasks
    ]


def report(found: Sequence[Study], out: str | Path) -> list[Outcome]:
    """What is known so far; left in ``out`` as ``results.json``, ``results.md``, ``results.png`` and, run by run,
    ``trials.csv``."""
    outcomes = [outcome for study in found for outcome in study.outcomes()]
    write_whole(Path(out, 'results.json'), json.dumps([asdict(o) for o in outcomes], indent=1).encode())
    write_whole(Path(out, 'results.md'), f'{markdown(outcomes)}\n'.encode())
    if any(o.test for o in outcomes):
        write_whole(Path(out, 'results.png'), png(draw_comparison(outcomes)))
    rows = []
    for study in found:
        for run, trial in study.trials():
            facts = {n: fact for n, fact in asdict(trial).items() if n not in ('figures', 'transfer', 'curve')}
            facts['best'] = max(trial.curve, default=None)
            rows.append(dict(config=study.method, task=study.task, split=run.seen, **facts.pop('point'), **facts))
    write_table(Path(out, 'trials.csv'), rows)
    return outcomes


def check_data(found: Sequence[Study]) -> None:
    """Look for the images of every split of the studies that are not finished.

    Raises:
        FileNotFoundError: a split that is not there.
        ValueError: names the images that are not there, or what is wrong with a list.
    """
    for study in found:
        if study.todo():
            check_config(study.config)
            for task in study.config.final.get('transfer') or ():
                check_config(Config(dict(test_dataloader=transfer_loader(study.config, task))))


def experiment(
    found: Sequence[Study], out: str | Path, jobs: int = 1, say: Callable[[str], Any] = print
) -> list[Outcome]:
    """Run studies by the protocol at the head of this file, each run in a process of its own.

    What is finished is kept and not run again; what fails is reported, is run again the next time, and takes nothing
    else with it. ``report`` leaves in ``out`` what is known so far.

    Args:
        found: of ``studies``.
        out: folder of the results.
        jobs: how many runs go side by side; PyTorch's threads are divided among them.
        say: takes a line for each run that has ended.

    Raises:
        FileNotFoundError: a split, images or lists that are not there, the test split's too: before anything runs.
        ValueError: no jobs, or what ``check_data`` finds.
    """
    check_data(found)
    failed: set[str] = set()
    waiting = list(found)

    def left() -> Iterator[Run]:
        for study in list(waiting):
            runs = study.todo(failed)
            if not runs:
                waiting.remove(study)  # and is not asked again after every run
            yield from runs

    for run, reason in side_by_side(left, jobs):
        trial = run.read()
        if trial is None:
            failed.add(run.name)
            say(f'{run} FAILED: {reason}; see {run.folder}')
        else:
            say(f'{run}: {trial.error or f"{trial.score:.1f} % on {run.seen}"}')
        own = next(study for study in found if run.name.startswith(f'{study.name}/'))
        if not own.todo(failed) and any(study.todo(failed) for study in found):
            report(found, out)  # what has not begun is named as missing
    return report(found, out)
