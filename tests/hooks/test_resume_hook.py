"""A run that goes on ends as one that nothing stopped, or says before it starts why it will not."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from runs import PowerCutError, differences, hook, interrupted, load, loader, newest, runner

from vptx.prompt_file import names_in_file, read_prompt
from vptx.registry import HOOKS

VALIDATED = {'train_cfg.max_epochs': 4, 'train_cfg.val_interval': 1}


@HOOKS.register_module(force=True)
class Rates(Hook):
    """Writes down the learning rate of each iteration, and which epochs were validated."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.validated: list[int] = []

    def before_train_iter(self, runner, **_) -> None:
        self.rates.append(runner.optim_wrapper.get_lr()['lr'][0])

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.validated.append(runner.epoch)


@HOOKS.register_module(force=True)
class LeaveInHub(Hook):
    """Leaves something in the message hub from an epoch on."""

    def __init__(self, epoch: int, what: str) -> None:
        self.epoch, self.what = epoch, what

    def before_train_epoch(self, runner) -> None:
        if runner.epoch + 1 >= self.epoch:
            runner.message_hub.update_info('of_a_user', dict(range=range(3), half=np.float16(2))[self.what])


RATES = [hook(), dict(type='Rates')]


def rates(run) -> Rates:
    return next(h for h in run.hooks if isinstance(h, Rates))


def last(folder: Path) -> dict:
    found = [path for path in folder.glob('*.pth') if not path.name.startswith('best_')]
    return load(max(found, key=lambda path: int(path.stem.rpartition('_')[2])))


def equal(ours: dict, theirs: dict) -> bool:
    return not any(differences(ours[key], theirs[key], key) for key in ('state_dict', 'optimizer', 'param_schedulers'))


def cut(work_dir: Path, where: str, epoch: int, **changes) -> None:
    """A run that ends as if the power went, at a point that hooks see, after so many epochs."""
    run = runner(work_dir, **changes)
    step = run.call_hook

    def call(name, **arguments):
        if name == where and run.epoch == epoch:
            raise PowerCutError
        step(name, **arguments)

    run.call_hook = call
    with pytest.raises(PowerCutError):
        run.train()


PLATEAU = dict(type='ReduceOnPlateauLR', monitor='accuracy/top1', rule='greater', patience=0, factor=0.1, by_epoch=True)
STOPS = dict(type='EarlyStoppingHook', monitor='accuracy/top1', patience=2, min_delta=50)
CASES = {
    'accumulated by 2': {'optim_wrapper.accumulative_counts': 2},
    'accumulated by 3, by 4 iterations': {
        'optim_wrapper.accumulative_counts': 3,
        'train_dataloader': loader(True, number=32),
    },
    'plateau': dict(param_scheduler=[PLATEAU]),
    'early stopping': dict(hooks=[hook(), STOPS]),
    'best': {'default_hooks.checkpoint.save_best': 'auto'},
    'one cycle': dict(param_scheduler=[dict(type='OneCycleLR', eta_max=0.05, total_steps=12, by_epoch=False)]),
    'averages': dict(hooks=[hook(), dict(type='EMAHook', momentum=0.3)]),
}


@pytest.mark.parametrize('case', CASES)
def test_it_ends_as_one_that_nothing_stopped(tmp_path, case):
    """Cut off while it trains, while it validates, and while it validates for the last time."""
    changes = {**VALIDATED, **CASES[case]}
    run = runner(tmp_path / 'straight', **changes)
    run.train()
    files = sorted(path.name for path in (tmp_path / 'straight').iterdir() if path.suffix in ('.pth', '.safetensors'))
    prompt = (tmp_path / 'straight' / 'prompt.safetensors').read_bytes()
    for place, epoch in (('before_train_epoch', 1), ('before_val_iter', 1), ('after_val_epoch', run.epoch)):
        folder = tmp_path / f'{place}_{epoch}'
        cut(folder, place, epoch, **changes)
        assert not (folder / 'prompt.safetensors').exists()
        runner(folder, resume=True, **changes).train()
        assert equal(last(folder), last(tmp_path / 'straight'))
        assert files == sorted(path.name for path in folder.iterdir() if path.suffix in ('.pth', '.safetensors'))
        assert (folder / 'prompt.safetensors').read_bytes() == prompt


def test_by_iteration_with_pending_gradients_and_a_validation_to_make_up_for(tmp_path):
    changes = {
        'train_cfg': dict(type='IterBasedTrainLoop', max_iters=9, val_interval=3, _delete_=True),
        'default_hooks.checkpoint': dict(type='CheckpointHook', interval=3, by_epoch=False, _delete_=True),
        'optim_wrapper.accumulative_counts': 2,
        'param_scheduler': [dict(type='CosineAnnealingLR', by_epoch=False, T_max=9)],
        'train_dataloader.sampler': dict(type='InfiniteSampler'),
        'hooks': RATES,
    }
    runner(tmp_path / 'straight', **changes).train()
    interrupted(tmp_path / 'cut', 5, **changes)
    run = runner(tmp_path / 'cut', resume=True, **changes)
    run.train()
    assert equal(last(tmp_path / 'cut'), last(tmp_path / 'straight'))
    assert len(rates(run).validated) == 3


def test_a_final_validation_that_was_cut_off_is_made_up_for(tmp_path):
    cut(tmp_path, 'before_val_iter', 4, **VALIDATED)
    run = runner(tmp_path, resume=True, hooks=RATES, **VALIDATED)
    run.train()
    assert rates(run).validated == [4]
    assert run.message_hub.get_scalar('val/accuracy/top1').current() >= 0


@pytest.mark.parametrize(
    'checkpoint', [None, dict(interval=2, save_last=False), dict(interval=1)], ids=['none', 'rare', 'each epoch']
)
def test_the_prompt_file_is_the_state_after_the_last_iteration(tmp_path, checkpoint):
    changes = {f'default_hooks.checkpoint.{key}': value for key, value in (checkpoint or {}).items()}
    if checkpoint is None:
        changes['default_hooks.checkpoint'] = None
    run = runner(tmp_path, **{'train_cfg.max_epochs': 3}, **changes)
    run.train()
    state = run.model.state_dict()
    tensors, _ = read_prompt(tmp_path / 'prompt.safetensors')
    assert tensors
    assert not differences(tensors, {name: state[ours] for ours, name in names_in_file(run.model).items()})


# Checkpoints name no files


def test_another_work_dir_leaves_the_first_ones_best_in_peace(tmp_path):
    best = {**VALIDATED, 'default_hooks.checkpoint.save_best': 'auto', 'default_hooks.checkpoint.max_keep_ckpts': 9}
    runner(tmp_path / 'first', **best).train()
    before = sorted(path.name for path in (tmp_path / 'first').glob('*.pth'))
    named = str(tmp_path / 'first' / 'epoch_1.pth')
    runner(tmp_path / 'second', resume=True, load_from=named, **best).train()
    assert sorted(path.name for path in (tmp_path / 'first').glob('*.pth')) == before
    assert len(list((tmp_path / 'second').glob('best_*.pth'))) == 1


def test_a_copied_work_dir_goes_on_from_its_own_checkpoint(tmp_path):
    best = {**VALIDATED, 'default_hooks.checkpoint.save_best': 'auto'}
    cut(tmp_path / 'first', 'before_train_epoch', 2, **best)
    shutil.copytree(tmp_path / 'first', tmp_path / 'copy')
    before = sorted(path.name for path in (tmp_path / 'first').glob('*.pth'))
    run = runner(tmp_path / 'copy', resume=True, **best)
    run.train()
    assert Path(run._load_from).parent == tmp_path / 'copy'
    assert sorted(path.name for path in (tmp_path / 'first').glob('*.pth')) == before
    assert len(list((tmp_path / 'copy').glob('best_*.pth'))) == 1


@pytest.mark.parametrize('here', [True, False], ids=['in the work dir', 'elsewhere'])
def test_a_checkpoint_does_not_name_what_to_delete(tmp_path, here):
    best = {**VALIDATED, 'default_hooks.checkpoint.save_best': 'auto'}
    cut(tmp_path / 'first', 'before_train_epoch', 1, **best)
    folder, file, own = tmp_path / 'folder', tmp_path / 'file.pth', tmp_path / 'work' / 'epoch_7.pth'
    for path in (folder / 'thesis.txt', file, own, tmp_path / 'work' / 'epoch_x' / 'y'):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('mine')
    found = load(tmp_path / 'first' / 'epoch_1.pth')
    hub = found['message_hub']
    ids = ['x/../../file', 7, *range(1000, 1004)]
    hub['runtime_info'].update(best_ckpt=str(folder), best_score=-1.0, keep_ckpt_ids=ids, last_ckpt=str(file))
    hub['resumed_keys'].update(best_ckpt=True, best_score=True, keep_ckpt_ids=True)
    evil = tmp_path / ('work' if here else 'other') / 'epoch_1.pth'
    evil.parent.mkdir(exist_ok=True)
    torch.save(found, evil)
    runner(tmp_path / 'work', resume=True, load_from=str(evil), **best).train()
    assert (folder / 'thesis.txt').exists() and file.exists() and own.exists()


# What a run goes on from


@pytest.mark.parametrize('damage', [b'', 'half', bytes(5000)], ids=['empty', 'half', 'zeros'])
def test_a_damaged_checkpoint_and_an_older_one(tmp_path, damage, capfd):
    kept = {**VALIDATED, 'default_hooks.checkpoint.max_keep_ckpts': 3}
    cut(tmp_path, 'before_train_epoch', 3, **kept)
    bad = tmp_path / 'epoch_3.pth'
    bad.write_bytes(bad.read_bytes()[:3000] if damage == 'half' else damage)
    run = runner(tmp_path, resume=True, hooks=RATES, **kept)
    run.train()
    assert rates(run).validated == [2, 3, 4]
    said = capfd.readouterr()
    assert re.search(r'epoch_3\.pth cannot be read.*The run goes on from .*epoch_2\.pth', said.out + said.err)


def test_no_checkpoint_is_whole(tmp_path):
    for epoch in (1, 2):
        (tmp_path / f'epoch_{epoch}.pth').write_bytes(bytes(99))
    with pytest.raises(ValueError, match=r'(?s)none to resume from: .*epoch_2\.pth.*epoch_1\.pth'):
        runner(tmp_path, resume=True).train()


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('epoch', 10**9, 'has done 3 iterations in 1000000000 epochs, here an epoch has 3'),
        ('epoch', float('nan'), 'it lacks: meta.epoch'),
        ('iter', -1, 'it lacks: meta.iter'),
        ('iter', None, 'it lacks: meta.iter'),
    ],
)
def test_a_checkpoint_that_does_not_know_where_it_is(tmp_path, name, value, message):
    interrupted(tmp_path, 4)
    found = load(newest(tmp_path))
    found['meta'][name] = value
    torch.save(found, newest(tmp_path))
    with pytest.raises(ValueError, match=rf'epoch_1\.pth .*{message}'):
        runner(tmp_path, resume=True).train()


def test_fewer_epochs_than_it_has_done(tmp_path):
    runner(tmp_path).train()
    with pytest.raises(ValueError, match=r'epoch_2\.pth has done 2 epochs, more than max_epochs=1: raise it'):
        runner(tmp_path, resume=True, **{'train_cfg.max_epochs': 1}).train()


def test_another_batch_size(tmp_path):
    interrupted(tmp_path, 4)
    with pytest.raises(
        ValueError, match=r'(?s)epoch_1\.pth has done 3 iterations in 1 epochs.*has 6.*batch_size 4, then 8'
    ):
        runner(tmp_path, resume=True, **{'train_dataloader.batch_size': 4}).train()


# Settings

COSINE = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=2, end=2, convert_to_iter_based=True)]
LONGER = [dict(type='CosineAnnealingLR', by_epoch=True, T_max=4, end=4, convert_to_iter_based=True)]
FOUR = {'train_cfg.max_epochs': 4}


def test_a_longer_schedule_is_not_taken_without_a_word(tmp_path, capfd):
    runner(tmp_path, param_scheduler=COSINE).train()
    run = runner(tmp_path, resume=True, param_scheduler=LONGER, hooks=RATES, **FOUR)
    run.train()
    assert max(rates(run).rates) < 1e-3
    said = capfd.readouterr()
    message = (
        r'goes on with those of the checkpoint: CosineAnnealingLR T_max 6, not 12; .*end 6, not 12.*--new-settings'
    )
    assert re.search(message, said.out + said.err)


@pytest.mark.parametrize('scheduler', [LONGER, [dict(type='LinearLR', by_epoch=False, end=12)], []], ids=str)
def test_the_configs_schedule_is_taken_as_if_it_had_been_there_from_the_beginning(tmp_path, scheduler):
    new = {**FOUR, 'param_scheduler': scheduler, 'optim_wrapper.optimizer.lr': 0.02}
    run = runner(tmp_path / 'straight', hooks=RATES, **new)
    run.train()
    expected = rates(run).rates[6:]
    runner(tmp_path / 'cut', param_scheduler=COSINE).train()
    hooks = [hook(resume_settings='config'), dict(type='Rates')]
    run = runner(tmp_path / 'cut', resume=True, hooks=hooks, **new)
    run.train()
    assert rates(run).rates == expected


def test_settings_that_only_the_config_has(tmp_path, capfd):
    interrupted(tmp_path, 4)
    changes = {'optim_wrapper.optimizer.lr': 0.1, 'optim_wrapper.optimizer.weight_decay': 0.5}
    changes['optim_wrapper.clip_grad'] = dict(max_norm=1)
    run = runner(tmp_path, resume=True, hooks=RATES, **changes)
    run.train()
    assert max(rates(run).rates) <= 0.01
    said = capfd.readouterr()
    said = said.out + said.err
    assert 'lr 0.01, not 0.1' in said and 'weight_decay 0.01, not 0.5' in said
    assert (
        'goes on with other settings than it had when it wrote' in said and "clip_grad {'max_norm': 1}, not {}" in said
    )


def test_nothing_is_said_where_nothing_differs(tmp_path, capfd):
    interrupted(tmp_path, 4)
    runner(tmp_path, resume=True).train()
    said = capfd.readouterr()
    assert 'settings' not in said.out + said.err


def test_another_optimizer(tmp_path):
    interrupted(tmp_path, 4)
    for kind in ('SGD', 'Adam'):
        with pytest.raises(ValueError, match=rf'epoch_1\.pth holds the state of AdamW, which {kind} of this config'):
            runner(tmp_path, resume=True, **{'optim_wrapper.optimizer.type': kind}).train()


def test_another_kind_of_schedule(tmp_path):
    interrupted(tmp_path, 4)
    other = [dict(type='LinearLR', by_epoch=False, end=6)]
    with pytest.raises(ValueError, match=r'another schedule \(CosineAnnealingLR\) than this config has \(LinearLR\)'):
        runner(tmp_path, resume=True, param_scheduler=other).train()


def test_whose_settings_is_checked(tmp_path):
    with pytest.raises(ValueError, match="resume_settings must be 'checkpoint' or 'config', not 'mine'"):
        runner(tmp_path, hooks=[hook(resume_settings='mine')]).train()


# What is saved can be loaded


@pytest.mark.parametrize('epoch', [1, 2])
def test_what_could_not_be_loaded_is_not_saved(tmp_path, epoch):
    run = runner(tmp_path, hooks=[hook(), dict(type='LeaveInHub', epoch=epoch, what='range')])
    with pytest.raises(ValueError, match=r'message_hub\.runtime_info\.of_a_user = range\(0, 3\) \(builtins\.range\)'):
        run.train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == [f'epoch_{e}.pth' for e in range(1, epoch)]


def test_numbers_of_numpy_come_back(tmp_path):
    runner(tmp_path, hooks=[hook(), dict(type='LeaveInHub', epoch=1, what='half')]).train()
    assert load(newest(tmp_path))['message_hub']['runtime_info']['of_a_user'] == np.float16(2)
