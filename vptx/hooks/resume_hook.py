"""A run that goes on ends as one that nothing stopped, or says before it starts why it will not."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch import Tensor

from vptx.optim.state import check_optimizer, check_schedule, keeps_state
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['ResumeHook']

#: What a scheduler's state says of where it is, not of how it is set.
PROGRESS = {'last_step', 'base_values', 'best', 'num_bad_epochs', 'cooldown_counter'}


@HOOKS.register_module()
class ResumeHook(Hook):
    """Adds to a checkpoint what MMEngine leaves out, and checks and completes a run that goes on from one.

    A checkpoint also holds the counts of EarlyStoppingHook, and the settings that are compared when the run goes on;
    ``SafeCheckpointHook`` adds the gradients that wait for the next step. It is of the moment before
    the validation at its place, if there is one: a resumed run begins with this validation, so that schedulers, hooks
    and the best checkpoint see the same figures.

    ``PromptTuningHook`` registers it.

    Args:
        settings: whose settings of optimizer and schedule a resumed run uses: the ``'checkpoint'``'s, with a warning
            where the config has others, or the ``'config'``'s, as if the run had had them from its beginning. Averages
            of the optimizer are the checkpoint's in both cases.

    Raises:
        ValueError: a checkpoint that does not fit: an epoch has another number of iterations here (other numbers of
            processes, images, or images in a batch), it has done more than the config asks for, another optimizer.
    """

    priority = 'LOWEST'

    def __init__(self, settings: str = 'checkpoint') -> None:
        if settings not in ('checkpoint', 'config'):
            raise ValueError(f"resume_settings must be 'checkpoint' or 'config', not {settings!r}")
        self.settings = settings
        self._resumed = False
        self._gradients: Mapping[str, Tensor] = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if 'optimizer' not in checkpoint:  # nothing goes on from the best checkpoint
            return
        schedulers = [(type(s).__name__, state) for s, state in zip(_schedulers(runner), _states(checkpoint))]
        for _, state in schedulers:  # OneCycleLR has functions in it
            for name in [name for name, value in state.items() if callable(value)]:
                del state[name]
        checkpoint['meta']['resume'] = dict(
            optimizer=type(runner.optim_wrapper.optimizer).__name__,
            schedulers=[name for name, _ in schedulers],
            surroundings=_surroundings(runner),
            early_stopping=[[hook.wait_count, float(hook.best_score)] for hook in _early_stopping(runner)],
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        where, record = str(runner._load_from), checkpoint['meta'].get('resume') or {}
        _check_progress(runner, checkpoint['meta'], where, record)
        _forget_files(runner, checkpoint, Path(where))
        self._compare(runner, checkpoint, where, record)
        if isinstance(runner.optim_wrapper, OptimWrapper):
            optimizer, state = runner.optim_wrapper.optimizer, checkpoint['optimizer']
            check_optimizer(optimizer, state, where)
            if not state['state'] and 'gradients' not in checkpoint and keeps_state(optimizer):
                runner.logger.warning(f'{where} holds no averages of {type(optimizer).__name__}: they start again')
        for scheduler, state in zip(_schedulers(runner), _states(checkpoint)):
            check_schedule(scheduler, state, where)
        for hook, (count, best) in zip(_early_stopping(runner), record.get('early_stopping', ())):
            hook.wait_count, hook.best_score = count, best
        self._gradients = checkpoint.get('gradients', {})
        self._resumed = True

    def before_train(self, runner: Runner) -> None:
        # The last hook before the loop: all others are ready.
        if self._gradients and not runner.optim_wrapper.should_update():
            runner.logger.info('the gradients that wait for the next step are in the checkpoint: none is lost')
            parameters = dict(unwrap_model(runner.model).named_parameters())
            for name, gradients in self._gradients.items():
                parameters[name].grad = gradients[get_rank()].to(parameters[name].device)
        self._gradients = {}
        if self._resumed and _validation_is_due(runner):
            runner.val_loop.run()

    def _compare(self, runner: Runner, checkpoint: dict, where: str, record: Mapping) -> None:
        """Say what the config has set otherwise than the run that wrote the checkpoint, and which of them holds."""
        optimizer: OptimWrapper = runner.optim_wrapper
        own, saved = optimizer.state_dict(), checkpoint['optimizer']
        kinds = record.get('optimizer', 'another optimizer'), type(optimizer.optimizer).__name__
        optional = {'loss_scaler', 'base_param_settings'}
        groups = list(zip(own['param_groups'], saved['param_groups'], strict=False))
        same_shape = [len(g['params']) for g in own['param_groups']] == [
            len(g['params']) for g in saved['param_groups']
        ]
        other_names = any(_settings(a).keys() - _settings(b).keys() for a, b in groups)
        if (record and kinds[0] != kinds[1]) or other_names or not same_shape or (own.keys() ^ saved.keys()) - optional:
            what = 'other groups of parameters' if kinds[0] == kinds[1] else kinds[0]
            raise ValueError(
                f'{where} holds the state of {what}, which {kinds[1]} of this config cannot go on with. Resume with '
                f'the optimizer that it was trained with, or begin a new run from its weights: load_from={where!r}'
            )
        schedules = [type(s).__name__ for s in _schedulers(runner)]
        other_kind = record.get('schedulers', schedules) != schedules or len(_states(checkpoint)) != len(schedules)
        if self.settings == 'config':
            _take_settings(runner, checkpoint)
            return
        if other_kind:
            then, now = (', '.join(names) or 'none' for names in (record.get('schedulers', ['others']), schedules))
            raise ValueError(
                f'{where} holds the state of another schedule ({then}) than this config has ({now}). Resume with the '
                'schedule of the checkpoint, or take that of the config, as if the run had had it from its beginning: '
                "vptx train --new-settings, or PromptTuningHook(resume_settings='config')"
            )
        then_and_now = [
            *((name, b.get(name), a[name]) for x, y in groups for a, b in [(_settings(x), _settings(y))] for name in a),
            *(
                (f'{kind} {name}', state.get(name), value)
                for kind, scheduler, state in zip(schedules, _schedulers(runner), _states(checkpoint))
                for name, value in scheduler.state_dict().items()
                if not (callable(value) or name.startswith('_') or name in PROGRESS)
            ),
        ]
        found = list(dict.fromkeys(f'{n} {then}, not {now}' for n, then, now in then_and_now if not _equal(then, now)))
        if found:
            runner.logger.warning(
                f'{where} was trained with other settings than this config has, and the run goes on with those of the '
                f'checkpoint: {"; ".join(found)}. To take those of the config, as if the run had had them from its '
                "beginning: vptx train --new-settings, or PromptTuningHook(resume_settings='config')"
            )
        before, here = record.get('surroundings', {}), _surroundings(runner)
        other = [f'{n} {here[n]}, not {before[n]}' for n in here if n in before and not _equal(before[n], here[n])]
        if other:
            runner.logger.warning(
                f'the run goes on with other settings than it had when it wrote {where}: {"; ".join(other)}. It will '
                'not end with the bits of a run that nothing stopped'
            )


def _schedulers(runner: Runner) -> list:
    return runner.param_schedulers if isinstance(runner.param_schedulers, list) else []


def _states(checkpoint: dict) -> list[dict]:
    states = checkpoint.get('param_schedulers', [])
    return states if isinstance(states, list) else []


def _early_stopping(runner: Runner) -> Iterator[EarlyStoppingHook]:
    return (hook for hook in runner.hooks if isinstance(hook, EarlyStoppingHook))


def _surroundings(runner: Runner) -> dict[str, Any]:
    """What a run takes from the config when it goes on, and its bits depend on."""
    config = runner.cfg.get('optim_wrapper') or {}
    return {
        'number of processes': get_world_size(),
        'batch_size': runner.train_dataloader.batch_size,
        'optim_wrapper': type(runner.optim_wrapper).__name__,
        'accumulative_counts': config.get('accumulative_counts', 1),
        'clip_grad': str(dict(config.get('clip_grad') or {})),
    }


def _settings(group: Mapping) -> dict[str, Any]:
    """Those of a parameter group, each as it was before any scheduler changed it."""
    kept = {name: value for name, value in group.items() if name not in ('params', 'param_names')}
    return {n.removeprefix('initial_'): value for n, value in kept.items() if f'initial_{n}' not in kept}


def _equal(then: Any, now: Any) -> bool:
    if isinstance(then, list | tuple) and isinstance(now, list | tuple):
        return len(then) == len(now) and all(map(_equal, then, now))
    return bool(then == now)


def _check_progress(runner: Runner, meta: Mapping, where: str, record: Mapping) -> None:
    """Refuse a checkpoint from which this config cannot go on."""
    epoch, iteration, loop = meta['epoch'], meta['iter'], runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        length = len(runner.train_dataloader)
        if iteration != epoch * length:
            then, now = record.get('surroundings', {}), _surroundings(runner)
            names = ('number of processes', 'batch_size')
            counts = (
                ', '.join(f'{name} {now[name]}, then {then[name]}' for name in names if name in then) or 'unknown then'
            )
            raise ValueError(
                f'{where} has done {iteration} iterations in {epoch} epochs, here an epoch has {length} ({counts}): '
                'the schedule would not fit. Resume with the same number of images for a step and the same images, '
                'from a checkpoint of the end of an epoch, or begin a new run from its weights: '
                f'load_from={where!r}'
            )
        if epoch > loop.max_epochs:
            raise ValueError(f'{where} has done {epoch} epochs, more than max_epochs={loop.max_epochs}: raise it')
    elif iteration > loop.max_iters:
        raise ValueError(f'{where} has done {iteration} iterations, more than max_iters={loop.max_iters}: raise it')


def _forget_files(runner: Runner, checkpoint: dict, where: Path) -> None:
    """Leave in a checkpoint's message hub no files but its own run's: MMEngine deletes those that it finds there."""
    hub, work_dir = checkpoint['message_hub'], Path(runner.work_dir)
    info = hub['runtime_info']
    info.pop('last_ckpt', None)
    ids = info.pop('keep_ckpt_ids', None)
    ids = [i for i in ids if type(i) is int] if isinstance(ids, list) else []
    best = {name: Path(str(info.pop(name))).name for name in [n for n in info if str(n).startswith('best_ckpt')]}
    for hook in runner.hooks:
        if not isinstance(hook, CheckpointHook):
            continue
        folder = work_dir if hook.out_dir is None else Path(hook.out_dir, work_dir.resolve().name)
        if folder.resolve() != where.resolve().parent:  # goes on elsewhere, with nothing to delete
            continue
        done = checkpoint['meta']['epoch' if hook.by_epoch else 'iter']
        info['keep_ckpt_ids'] = [i for i in ids if 0 <= i <= done]
        for name, file in best.items():
            if file.startswith('best_') and file.endswith('.pth') and (folder / file).is_file():
                info[name] = str(folder / file)
    for name in best:
        if name not in info:  # and so there is no best one yet
            info.pop(name.replace('best_ckpt', 'best_score'), None)
    there = info.keys() | hub['log_scalars'].keys()
    hub['resumed_keys'] = {name: value for name, value in hub['resumed_keys'].items() if name in there}


def _validation_is_due(runner: Runner) -> bool:
    loop: Any = runner.train_loop
    if runner.val_loop is None or not isinstance(loop, EpochBasedTrainLoop | IterBasedTrainLoop):
        return False
    loop._decide_current_val_interval()
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    done, end = (loop.epoch, loop.max_epochs) if by_epoch else (loop.iter, loop.max_iters)
    return done >= max(loop.val_begin, 1) and (done % loop.val_interval == 0 or done == end)


def _take_settings(runner: Runner, checkpoint: dict) -> None:
    """Put the config's settings into a checkpoint, with the schedule where it would be, had it been the run's."""
    epoch, iteration = checkpoint['meta']['epoch'], checkpoint['meta']['iter']
    schedulers = [s for s in _schedulers(runner) if not getattr(s, 'need_val_args', False)]  # scores are not known
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # there was no step of the optimizer before that of the scheduler
        for done in range(1, iteration + 1):
            for scheduler in schedulers:
                if not scheduler.by_epoch or (epoch and done % (iteration // epoch) == 0):
                    scheduler.step()
    own, saved = runner.optim_wrapper.state_dict(), checkpoint['optimizer']
    both = zip(saved['param_groups'], own['param_groups'], strict=True)
    saved['param_groups'] = [{**then, **now} for then, now in both]  # timm's Lamb counts its steps there
    if 'base_param_settings' in own:
        saved['base_param_settings'] = own['base_param_settings']
    checkpoint['param_schedulers'] = [scheduler.state_dict() for scheduler in _schedulers(runner)]
    runner.logger.info('the settings of optimizer and schedule are those of the config, not of the checkpoint')
