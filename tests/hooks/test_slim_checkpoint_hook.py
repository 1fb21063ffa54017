"""Checkpoints hold what trained, and one is always there."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from runs import CLASSES, children, differences, hook, load, newest, runner
from safetensors import safe_open

import vptx
from vptx.checkpoint import complete
from vptx.files import Occupied
from vptx.prompt_file import read_prompt
from vptx.registry import HOOKS

TRAINED = {
    'backbone.prompter.embedding.rows.0',
    'backbone.prompter.embedding.rows.1',
    'head.fc.weight',
    'head.fc.bias',
}
IN_FILE = {name.replace('backbone.', '').replace('head.', 'outside.head.') for name in TRAINED}
EMA = [hook(), dict(type='EMAHook', momentum=0.3)]


@HOOKS.register_module(force=True)
class Count(Hook):
    """Counts the checkpoints in the folder whenever something happens, most of all while one is written."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.counts: list[int] = []

    def count(self, runner) -> None:
        self.counts.append(len(list(Path(runner.work_dir).glob('epoch_*.pth'))))

    def before_save_checkpoint(self, runner, checkpoint) -> None:
        self.count(runner)

    def after_train_iter(self, runner, **_) -> None:
        self.count(runner)

    def after_train_epoch(self, runner) -> None:
        self.count(runner)


def test_a_checkpoint_holds_what_trained_and_its_facts(tmp_path):
    run = runner(tmp_path)
    run.train()
    saved = load(newest(tmp_path))
    assert set(saved) == {'meta', 'state_dict', 'message_hub', 'optimizer', 'param_schedulers'}
    assert set(saved['state_dict']) == TRAINED
    facts = saved['meta']['vptx']
    assert facts['network'] == 'vit_mini_patch8_64'
    assert facts['prompter'] == 'DeepPrompter'
    assert facts['classes'] == list(CLASSES)
    assert set(facts['prompts']) == {name for name in IN_FILE if 'prompter' in name}
    assert facts['at'] == 'backbone.'
    assert 'PromptTuningHook' in facts['config']
    json.dumps(facts)  # plain
    trained = 4 * sum(tensor.numel() for tensor in saved['state_dict'].values())
    whole = 4 * sum(parameter.numel() for parameter in run.model.parameters())
    # Weights, and two averages of AdamW; the rest is the config (twice), logs and torch's own frame.
    assert 3 * trained < newest(tmp_path).stat().st_size < 3 * trained + 30_000 < whole


def test_the_averages_are_slim_too(tmp_path):
    run = runner(tmp_path, hooks=EMA)
    run.train()
    saved = load(newest(tmp_path))
    assert set(saved['state_dict']) == TRAINED
    assert set(saved['ema_state_dict']) == {'steps', *(f'module.{name}' for name in TRAINED)}
    # As MMEngine has it: what is deployed is the average, what goes on training is beside it.
    ours = run.model.state_dict()
    assert all(torch.equal(saved['ema_state_dict'][f'module.{name}'], ours[name]) for name in TRAINED)
    assert not any(torch.equal(saved['state_dict'][name], ours[name]) for name in TRAINED)


def test_the_prompt_file_holds_the_averages(tmp_path):
    runner(tmp_path, hooks=EMA).train()
    assert not differences(read_prompt(tmp_path / 'prompt.safetensors')[0], read_prompt(newest(tmp_path))[0])


def test_a_test_of_averages_is_that_of_the_run(tmp_path):
    run = runner(tmp_path, hooks=EMA, **{'train_cfg.max_epochs': 6})
    run.train()
    expected = run.test()
    for file in (newest(tmp_path), tmp_path / 'prompt.safetensors'):
        for hooks in (EMA, [hook()]):
            assert runner(tmp_path / 'test', hooks=hooks, load_from=str(file)).test() == expected


def test_the_prompt_file_at_the_end(tmp_path):
    run = runner(tmp_path)
    run.train()
    path = tmp_path / 'prompt.safetensors'
    with safe_open(path, 'pt') as file:
        assert set(file.keys()) == IN_FILE
    assert path.stat().st_size < 10_000
    facts = vptx.load_prompt(run.model, path)
    assert facts['classes'] == list(CLASSES)


def test_what_lies_in_the_folder_in_the_end(tmp_path):
    runner(tmp_path).train()
    names = {p.name for p in tmp_path.iterdir() if p.is_file() and p.suffix != '.py'}
    assert names == {'.lock', 'epoch_2.pth', 'last_checkpoint', 'prompt.safetensors'}
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')


@pytest.mark.parametrize(
    ('keep', 'left'), [(1, [4]), (2, [3, 4]), (3, [2, 3, 4]), (4, [1, 2, 3, 4]), (-1, [1, 2, 3, 4])]
)
def test_the_last_checkpoint_is_never_deleted_before_the_next_is_there(tmp_path, keep, left):
    changes = {'train_cfg.max_epochs': 4, 'default_hooks.checkpoint.max_keep_ckpts': keep}
    run = runner(tmp_path, hooks=[hook(), dict(type='Count')], **changes)
    run.train()
    counts = next(h for h in run.hooks if isinstance(h, Count)).counts
    first = counts.index(1)
    assert min(counts[first:]) >= 1
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == [f'epoch_{epoch}.pth' for epoch in left]


def test_the_best_checkpoint_is_kept_beside_the_last(tmp_path):
    changes = {
        'train_cfg.max_epochs': 4,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.save_best': 'auto',
    }
    run = runner(tmp_path, **changes)
    run.train()
    names = sorted(path.name for path in tmp_path.glob('*.pth'))
    assert len(names) == 2
    assert names[0].startswith('best_accuracy_top1_epoch_')
    assert names[1] == 'epoch_4.pth'
    best = load(tmp_path / names[0])
    assert set(best['state_dict']) == TRAINED
    score = runner(tmp_path / 'test', load_from=str(tmp_path / names[0])).test()['accuracy/top1']
    assert score == pytest.approx(run.message_hub.get_info('best_score'))


def test_resumed_runs_keep_as_many(tmp_path):
    for epochs in (2, 4):
        run = runner(tmp_path, resume=epochs > 2, **{'train_cfg.max_epochs': epochs})
        run.train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_4.pth']


def test_complete_fills_up_with_the_frozen_tensors(tmp_path):
    run = runner(tmp_path, hooks=EMA)
    run.train()
    saved = load(newest(tmp_path))
    complete(run.model, saved, 'a.pth')
    state = run.model.state_dict()
    assert set(saved['state_dict']) == set(state)
    assert set(saved['ema_state_dict']) == {'steps', *(f'module.{name}' for name in state)}
    frozen = 'backbone.net.model.pos_embed'
    assert torch.equal(saved['state_dict'][frozen], state[frozen])


def test_a_checkpoint_is_a_prompt_file_too(tmp_path):
    run = runner(tmp_path)
    run.train()
    expected = {name: value.clone() for name, value in run.model.state_dict().items()}
    with torch.no_grad():
        for name, parameter in run.model.named_parameters():
            if name in TRAINED:
                parameter.zero_()
    vptx.load_prompt(run.model, newest(tmp_path))
    assert all(torch.equal(value, expected[name]) for name, value in run.model.state_dict().items())


def test_more_are_kept(tmp_path):
    runner(tmp_path, **{'train_cfg.max_epochs': 7, 'default_hooks.checkpoint.max_keep_ckpts': 5}).train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == [f'epoch_{epoch}.pth' for epoch in range(3, 8)]


def test_a_checkpoint_that_was_to_be_deleted_when_the_run_died_is_deleted(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr('pathlib.Path.unlink', lambda path, missing_ok=False: os.kill(os.getpid(), signal.SIGKILL))
        assert children(lambda: runner(tmp_path).train()) == [-signal.SIGKILL]
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_1.pth', 'epoch_2.pth']
    runner(tmp_path, resume=True, **{'train_cfg.max_epochs': 3}).train()
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_3.pth']


@pytest.mark.parametrize('classes', [CLASSES, tuple(np.array(CLASSES))], ids=['strings', 'of numpy'])
def test_the_text_of_the_config_is_that_of_any_run(tmp_path, classes):
    secret = dict(type='LoadImageFromFile', backend_args=dict(key='my secret'))
    changes = {'test_dataloader.dataset.pipeline': [secret], 'train_dataloader.dataset.metainfo': dict(classes=classes)}
    for folder in 'ab':
        run = runner(tmp_path / folder, **changes)
        run.train()
    files = [(tmp_path / folder / 'prompt.safetensors').read_bytes() for folder in 'ab']
    assert files[0] == files[1]
    text = read_prompt(tmp_path / 'a' / 'prompt.safetensors')[1]['config']
    assert 'my secret' not in text and str(tmp_path) not in text
    (last,) = (tmp_path / 'a').glob('epoch_*.pth')
    assert b'my secret' not in last.read_bytes()


def test_one_work_dir_for_two_runs_at_a_time(tmp_path):
    held = Occupied(tmp_path)

    def another():
        with pytest.raises(RuntimeError, match=r'another run .* give this one a work dir of its own'):
            runner(tmp_path).train()

    assert children(another) == [0]
    assert not list(tmp_path.glob('*.pth'))
    run = runner(tmp_path)  # of this process
    run.train()
    run.test()
    del held
