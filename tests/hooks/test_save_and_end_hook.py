"""A run that has the signal ends with a checkpoint, and continues as one that nothing stopped."""

import os
import signal

import pytest
from mmengine.hooks import Hook
from runs import differences, hook, load, loader, newest, runner

from vptx.hooks import SaveAndEndHook
from vptx.registry import HOOKS


@HOOKS.register_module(force=True)
class SignalHook(Hook):
    """Sends SIGUSR1 to this process after an iteration of the run, counted from 1."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.iteration:
            os.kill(os.getpid(), signal.SIGUSR1)


@HOOKS.register_module(force=True)
class BreakHook(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        raise ValueError('no rate')


BY_EPOCH = {'train_cfg.max_epochs': 3, 'default_hooks.checkpoint.interval': 5}
BY_ITER = {
    'train_cfg': dict(type='IterBasedTrainLoop', max_iters=24, val_interval=12, _delete_=True),
    'train_dataloader': {**loader(True), 'sampler': dict(type='InfiniteSampler', shuffle=True)},
    'param_scheduler': [dict(type='CosineAnnealingLR', by_epoch=False, T_max=24)],
    'default_hooks.checkpoint': dict(type='CheckpointHook', interval=24, by_epoch=False, max_keep_ckpts=1),
}


@pytest.mark.parametrize(
    ('changes', 'at', 'saved'),
    [(BY_EPOCH, 4, 'epoch_2.pth'), (BY_ITER, 3, 'iter_10.pth')],
    ids=['epochs', 'iterations'],
)
def test_it_ends_at_the_signal_and_continues_bit_for_bit(tmp_path, changes, at, saved):
    """By epochs it ends with the second of three, by iterations with the tenth of 24, as it asks after every ten."""
    runner(tmp_path / 'straight', **changes).train()
    with pytest.raises(SystemExit) as end:
        runner(tmp_path / 'cut', hooks=[hook(), dict(type='SignalHook', iteration=at)], **changes).train()
    assert end.value.code == 75
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert newest(tmp_path / 'cut').name == saved
    assert not (tmp_path / 'cut' / 'prompt.safetensors').exists()
    again = runner(tmp_path / 'cut', resume=True, **changes)
    again.train()
    ours, theirs = (load(newest(tmp_path / folder)) for folder in ('cut', 'straight'))
    for key in ('state_dict', 'optimizer', 'param_schedulers'):
        assert not differences(ours[key], theirs[key], key)


def test_a_signal_in_the_last_epoch_ends_nothing(tmp_path):
    runner(tmp_path, hooks=[hook(), dict(type='SignalHook', iteration=5)]).train()
    assert (tmp_path / 'prompt.safetensors').is_file()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_after_a_run_that_an_error_ended_the_next_one_listens(tmp_path):
    with pytest.raises(ValueError, match='no rate'):
        runner(tmp_path / 'broken', hooks=[hook(), dict(type='BreakHook')]).train()
    with pytest.raises(SystemExit):
        runner(tmp_path / 'cut', hooks=[hook(), dict(type='SignalHook', iteration=1)]).train()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_a_handler_of_the_user_stays(tmp_path):
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
    try:
        runner(tmp_path, hooks=[hook(), dict(type='SignalHook', iteration=1)]).train()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [1]


def test_it_asks_after_at_least_one_iteration():
    with pytest.raises(ValueError, match='every must be at least 1, not 0'):
        SaveAndEndHook(every=0)
