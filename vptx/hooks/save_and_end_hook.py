"""Ends a run at a signal, with a checkpoint from which it can continue bit for bit."""

import os
import signal
import threading
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from vptx.registry import HOOKS

__all__ = ['STATUS', 'SaveAndEndHook']

#: Exit status of a run that was ended and can be continued (``EX_TEMPFAIL``).
STATUS = os.EX_TEMPFAIL


@HOOKS.register_module()
class SaveAndEndHook(Hook):
    """On SIGUSR1, which Slurm sends before a time limit, the run writes a checkpoint and ends with status 75.

    That is at the end of the epoch, or, of a loop that counts iterations, within ``every`` of them: the places from
    which a run continues bit for bit. The same command with ``--resume`` continues it. One process of several needs
    the signal.

    ``PromptTuningHook`` registers it.

    Args:
        every: after how many iterations the processes ask one another whether one has the signal.

    Note:
        After CheckpointHook, so that a checkpoint that is due anyway is written once. In a thread that is not the
        main one, and where SIGUSR1 has a handler already, it does nothing.

    Raises:
        SystemExit: with ``STATUS``.
    """

    priority = 'LOWEST'
    _signalled = False
    _listens = False

    def __init__(self, every: int = 10) -> None:
        if every < 1:
            raise ValueError(f'every must be at least 1, not {every}')
        self.every = every

    def before_train(self, runner: Runner) -> None:
        found: Any = signal.getsignal(signal.SIGUSR1)
        if isinstance(getattr(found, '__self__', None), SaveAndEndHook):  # of a run that an error ended in this process
            found = found.__self__._before
        if found in (signal.SIG_DFL, signal.SIG_IGN) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._note)
            self._before, self._listens = found, True

    def _note(self, number: int, frame: Any) -> None:
        self._signalled = True

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        if isinstance(runner.train_loop, IterBasedTrainLoop) and self.every_n_train_iters(runner, self.every):
            self._end(runner, runner.iter + 1, runner.max_iters, by_epoch=False)

    def after_train_epoch(self, runner: Runner) -> None:
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            self._end(runner, runner.epoch + 1, runner.max_epochs, by_epoch=True)

    def after_run(self, runner: Runner) -> None:
        if self._listens:
            signal.signal(signal.SIGUSR1, self._before)
            self._listens = False

    def _end(self, runner: Runner, done: int, length: int, by_epoch: bool) -> None:
        """Save and end, if one of the processes has the signal and there is something left to do."""
        signalled = torch.tensor(int(self._signalled))
        all_reduce(signalled, 'max')
        if not signalled or done == length:
            return
        if get_world_size() > 1:
            # The first process to end has the others ended by SIGTERM, while one of them still writes.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        savers = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook) and hook.by_epoch == by_epoch]
        for hook in savers[:1]:
            due = self.every_n_epochs if by_epoch else self.every_n_train_iters
            if not (hook.interval > 0 and due(runner, hook.interval, hook.save_begin)):
                hook._save_checkpoint(runner)
        where = 'epoch' if by_epoch else 'iteration'
        if savers:
            runner.logger.warning(
                f'ended by SIGUSR1 after {where} {done} of {length}, with a checkpoint in {runner.work_dir}: the same '
                'command with --resume continues'
            )
        else:
            runner.logger.warning(
                f'ended by SIGUSR1 after {where} {done} of {length}; nothing is saved, as the config has no '
                f'CheckpointHook by {where}'
            )
        self.after_run(runner)
        barrier()
        raise SystemExit(STATUS)
