"""Studies in parallel, by Ray Tune: on the processors and GPUs of this machine, or on a Ray cluster.

What a run is, where its result lies and what counts as done is ``trials``' and
``protocol``'s business: Ray is asked to run what has no result yet. So a sweep that was killed goes
on, a finished run is never repeated, and ``tools/experiment.py`` can finish what a sweep began.

    selection   every point of every study, the scheduler stops those that fall behind others of their study
    final       the chosen points with every seed, to their end
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from vptx.studies.protocol import Study, check_data, report
from vptx.studies.results import Outcome
from vptx.studies.trials import Run, Trial, length, metric_of

try:
    import ray
    from ray import tune
    from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler

    from vptx.cluster import join
except ImportError as error:
    raise ImportError(f'a sweep needs Ray Tune: pip install vptx[sweep] ({error})') from error

__all__ = ['connect', 'sweep']

# Of the objects that Ray passes between processes; here they are configs. Its own default is a third of the memory.
STORE = 100 * 2**20
# A run whose process died so often is not started again: it may be what kills it.
DEATHS = 3


def connect(address: str | None = None) -> None:
    """Join the Ray cluster at ``address``, or the one that this machine is part of; else start Ray here alone.

    Args:
        address: as ``ray.init`` takes it; ``'local'`` joins none.
    """
    os.environ.setdefault('TUNE_DISABLE_AUTO_CALLBACK_LOGGERS', '1')  # vptx writes the results,
    logging.getLogger('ray.tune.analysis.experiment_analysis').setLevel(logging.ERROR)  # and are not needed
    os.environ.setdefault('RAY_AIR_NEW_OUTPUT', '0')  # the other progress table cuts names off
    join(address, include_dashboard=False, object_store_memory=STORE)


class _Report(Hook):
    """Reports validation scores to Ray during a run; Ray's answer may end the process's run here."""

    priority = 'LOWEST'

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if metrics and runner.epoch < runner.max_epochs:  # the end is reported when its result is kept
            tune.report(dict(score=metrics[metric_of(runner.cfg, 'val')], epoch=runner.epoch))


def _do(params: dict[str, Any], runs: dict[str, Run], cwd: str) -> None:
    """In a process of Ray's: one run."""
    os.chdir(cwd)  # paths of a config are relative to where the sweep was started, Ray's processes live elsewhere
    run = runs[params['run']]
    trial = run.do(watch=lambda runner: runner.register_hook(_Report()))
    tune.report(dict(score=float('nan') if trial.score is None else trial.score, epoch=length(run.config)))


class _ASHA(FIFOScheduler):
    """Asynchronous successive halving (Li et al. 2020, https://arxiv.org/abs/1810.05934) within each study: scores of
    other tasks and methods are not compared."""

    def __init__(self, study_of: dict[str, str], **options: Any) -> None:
        super().__init__()
        self.halving = {
            study: AsyncHyperBandScheduler('epoch', 'score', 'max', stop_last_trials=False, **options)
            for study in set(study_of.values())
        }
        self.study_of = study_of

    def _of(self, trial: Any) -> AsyncHyperBandScheduler:
        return self.halving[self.study_of[trial.config['run']]]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict) -> str:
        return self._of(trial).on_trial_result(tune_controller, trial, result)


class _Keep(tune.Callback):
    """Notes, on the driver, what a run itself cannot: that it was stopped, or that it failed."""

    def __init__(self, runs: dict[str, Run], say: Callable[[str], None] = print) -> None:
        self.runs, self.say, self.failed, self.lost = runs, say, list[str](), list[str]()

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **_: Any) -> None:
        run, last = self.runs[trial.config['run']], trial.last_result
        if run.read() is None:
            error = f'stopped after {last["epoch"]} of {length(run.config)} epochs at {last["score"]:.1f} %'
            run.write(Trial(run.point, None, error=error, stopped=True))
            for checkpoint in run.folder.glob('*.pth'):
                checkpoint.unlink()
        ended = run.read()
        if ended is not None:
            self.say(f'{run}: {ended.error or f"{ended.score:.1f} % on {run.seen}"}')

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **_: Any) -> None:
        run = self.runs[trial.config['run']]
        error_file = run.folder / 'error.txt'
        if not error_file.is_file():  # its process died, or its machine did
            self.lost.append(run.name)
            return
        self.failed.append(run.name)
        self.say(f'{run} FAILED: {error_file.read_text().strip().splitlines()[-1]}; see {run.folder}')


def _run(
    runs: Sequence[Run],
    out: Path,
    name: str,
    resources: dict[str, float],
    asha: '_ASHA | None',
    say: Callable[[str], None],
) -> tuple[list[str], list[str]]:
    """Let Ray do them all; the names of those that failed, and of those whose process died."""
    keep = _Keep({run.name: run for run in runs}, say)
    tune.Tuner(
        tune.with_resources(tune.with_parameters(_do, runs=keep.runs, cwd=str(Path.cwd())), resources),
        param_space=dict(run=tune.grid_search(list(keep.runs))),
        tune_config=tune.TuneConfig(
            metric='score',
            mode='max',
            scheduler=asha,
            reuse_actors=True,  # an interpreter that has imported torch is worth keeping
            trial_name_creator=lambda trial: trial.trial_id,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str((out / 'ray').absolute()),
            callbacks=[keep],
            verbose=0,  # a line for each run that ends says more than tables of all
        ),
    ).fit()
    return keep.failed, keep.lost


def sweep(
    found: Sequence[Study],
    out: str | Path,
    cpus: float = 1,
    gpus: float | None = None,
    asha: bool = False,
    judge_every: int | None = None,
    say: Callable[[str], None] = print,
) -> tuple[list[Outcome], list[str]]:
    """Run studies by the paper's protocol, side by side; ``connect`` first.

    Args:
        found: of ``studies``; their folder must be one that all machines see.
        out: where ``report`` leaves what is known.
        cpus: processors for each run, which is how many threads it has.
        gpus: share of a GPU for each run: with 0.25, four runs share one; by default a whole one, where there are any.
        asha: stop runs of the selection that fall behind three quarters of their study's. One that was stopped is not
            chosen from, and is started again by a sweep without this.
        judge_every: epochs between two looks at validation, of runs that may be stopped; by default a tenth of all.
        say: takes a line for each run that has ended.

    Returns:
        What each study came to, and the names of runs that failed.

    Raises:
        FileNotFoundError: of ``check_data``.
        ValueError: runs that may be stopped, of a config that counts iterations; of ``check_data``.
    """
    out = Path(out)
    resources = dict(cpu=cpus, gpu=float('GPU' in ray.cluster_resources()) if gpus is None else gpus)
    failed: list[str] = []
    died: Counter[str] = Counter()
    if asha and any('max_epochs' not in study.config.train_cfg for study in found):
        raise ValueError('asha stops runs after so many epochs, and there is a config that counts iterations')
    check_data(found)
    while todo := [run for study in found for run in study.todo(failed, stopped=not asha)]:
        scheduler = None
        selection = [run for run in todo if run.seen == 'val']
        if asha and selection:
            longest = max(map(length, (run.config for run in selection)))
            every = judge_every or max(1, longest // 10)
            for run in selection:
                run.config.train_cfg.update(val_interval=every, val_begin=1)
            study_of = {run.name: study.name for study in found for run in study.selection()}
            scheduler = _ASHA(study_of, grace_period=every, max_t=longest)
        stage = 'selection' if selection else 'final'
        broken, lost = _run(selection or todo, out, stage, resources, scheduler, say)
        for name in lost:
            died[name] += 1
            if died[name] < DEATHS:
                say(f'{name} is started again, as its process or its machine died')
            else:
                say(f'{name} FAILED: its process died {DEATHS} times; see {out / name}')
        failed += [*broken, *(name for name in lost if died[name] >= DEATHS)]
        report(found, out)
    return report(found, out), failed
