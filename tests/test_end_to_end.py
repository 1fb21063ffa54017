"""The tools, in processes of their own, as a user runs them; and as a user's power cut ends them."""

import json
import signal

import pytest
import torch
from runs import differences, hook, load, loader, net, newest, tool, write_config, write_weights

import vptx
from vptx.prompt_file import read_prompt

KEPT = ('state_dict', 'optimizer', 'param_schedulers')
AUGMENT = [dict(type='RandomFlip', prob=0.5), dict(type='RandomCrop', crop_size=16, padding=2)]


def changes(workers: int) -> dict:
    """Three epochs of three iterations, with prompt dropout and random augmentation."""
    return {'train_dataloader': loader(True, AUGMENT, workers), 'train_cfg.max_epochs': 3}


@pytest.fixture(scope='module')
def straight(start, tmp_path_factory):
    """The last checkpoint of a run that nothing interrupts, by number of workers."""
    folders = {}
    for workers in (0, 2):
        folder = tmp_path_factory.mktemp(f'straight_{workers}')
        config = write_config(folder / 'config.py', folder / 'work', **changes(workers))
        status, output = start('train', config, log=folder / 'log')
        assert status == 0, output
        folders[workers] = folder / 'work'
    return folders


def test_equal_runs_are_equal_and_others_are_not(start, tmp_path):
    """Without this, a comparison that sees nothing would make every test below pass."""
    ends = []
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        config = write_config(tmp_path / f'{name}.py', tmp_path / name, randomness=dict(seed=seed))
        status, output = start('train', config, log=tmp_path / 'log')
        assert status == 0, output
        ends.append({key: load(newest(tmp_path / name))[key] for key in KEPT})
    assert not differences(ends[0], ends[1])
    assert differences(ends[0], ends[2])


@pytest.mark.parametrize(
    ('kill', 'workers'),
    [
        (dict(iteration=5), 0),
        (dict(iteration=5), 2),
        (dict(iteration=2), 0),  # before there is any checkpoint
        (dict(write=2, at='half'), 0),
        (dict(write=2, at='half'), 2),
        (dict(write=2, at='replace'), 0),
        (dict(write=2, at='pointer'), 0),
    ],
    ids=str,
)
def test_killed_and_resumed_it_ends_bit_equal(start, straight, tmp_path, kill, workers):
    work = tmp_path / 'work'
    hooks = [hook(), dict(type='KillHook', **kill)]
    deadly = write_config(tmp_path / 'deadly.py', work, hooks=hooks, **changes(workers))
    config = write_config(tmp_path / 'config.py', work, **changes(workers))
    status, _ = start('train', deadly, log=tmp_path / 'log')
    assert status == -signal.SIGKILL
    status, output = start('train', config, '--resume', log=tmp_path / 'log')
    assert status == 0, output
    ours, theirs = ({key: load(newest(folder))[key] for key in KEPT} for folder in (work, straight[workers]))
    assert not differences(ours, theirs)
    tensors = [read_prompt(folder / 'prompt.safetensors')[0] for folder in (work, straight[workers])]
    assert not differences(*tensors)
    # A process that dies between the new file and the deletion of the old one leaves both.
    assert (work / 'epoch_3.pth').is_file() and len(list(work.glob('*.pth'))) <= 1 + (kill.get('at') == 'pointer')


def test_killed_twice(start, straight, tmp_path):
    work = tmp_path / 'work'
    for kill in (dict(iteration=5), dict(iteration=8), None):
        hooks = [hook(), *([dict(type='KillHook', **kill)] if kill else [])]
        config = write_config(tmp_path / 'config.py', work, hooks=hooks, **changes(0))
        status, output = start('train', config, '--resume', log=tmp_path / 'log')
        assert status == (-signal.SIGKILL if kill else 0), output
    ours, theirs = ({key: load(newest(folder))[key] for key in KEPT} for folder in (work, straight[0]))
    assert not differences(ours, theirs)


def test_resume_from_a_named_checkpoint(start, straight, tmp_path):
    changed = {**changes(0), 'default_hooks.checkpoint.max_keep_ckpts': 5}
    config = write_config(tmp_path / 'config.py', tmp_path / 'first', **changed)
    assert start('train', config, log=tmp_path / 'log')[0] == 0
    named = tmp_path / 'first' / 'epoch_1.pth'
    arguments = ('--work-dir', tmp_path / 'second', '--resume', named)
    status, output = start('train', config, *arguments, log=tmp_path / 'log')
    assert status == 0, output
    assert sorted(path.name for path in (tmp_path / 'second').glob('*.pth')) == ['epoch_2.pth', 'epoch_3.pth']
    ours, theirs = ({key: load(newest(folder))[key] for key in KEPT} for folder in (tmp_path / 'second', straight[0]))
    assert not differences(ours, theirs)


def test_train_and_test_from_a_shell(tmp_path):
    """In fresh processes, nothing imported before."""
    config = write_config(tmp_path / 'config.py', tmp_path / 'elsewhere')
    options = ['--cfg-options', 'train_cfg.max_epochs=12', 'optim_wrapper.optimizer.lr=0.02']
    tool('train', config, '--work-dir', tmp_path / 'work', *options)
    assert newest(tmp_path / 'work').name == 'epoch_12.pth'
    assert not (tmp_path / 'elsewhere').exists()
    tool('test', config, newest(tmp_path / 'work'), '--work-dir', tmp_path / 'test', '--out', tmp_path / 'metrics.json')
    assert json.loads((tmp_path / 'metrics.json').read_text())['accuracy/top1'] > 60


def test_test_takes_checkpoints_and_prompt_files(start, straight, tmp_path):
    config = straight[0].parent / 'config.py'
    found = []
    for file in (newest(straight[0]), straight[0] / 'prompt.safetensors'):
        out = tmp_path / f'{file.suffix}.json'
        status, output = start('test', config, file, '--work-dir', tmp_path, '--out', out, log=tmp_path / 'log')
        assert status == 0, output
        found.append(json.loads(out.read_text()))
    assert found[0] == found[1]
    assert 'accuracy/top1' in found[0]


@pytest.mark.parametrize('content', ['truncated', 'of another run', 'missing'])
def test_test_refuses_a_bad_file_with_one_clear_error(start, straight, tmp_path, content):
    whole, file = (straight[0] / 'prompt.safetensors').read_bytes(), tmp_path / 'prompt.safetensors'
    config = straight[0].parent / 'config.py'
    if content == 'truncated':
        file.write_bytes(whole[:-10])
    elif content == 'of another run':
        file.write_bytes(whole)
        config = write_config(tmp_path / 'config.py', tmp_path, hooks=[hook(dict(type='AddedPrompter'))])
    status, output = start('test', config, file, '--work-dir', tmp_path, log=tmp_path / 'log')
    assert status == 1
    message = {
        'truncated': f'ValueError: {file} cannot be read: truncated',
        'of another run': f'ValueError: {file} belongs to the prompter DeepPrompter, this model has AddedPrompter',
        'missing': f'FileNotFoundError: there is no file {file}',
    }[content]
    assert output.strip().splitlines()[-1].startswith(message)


def test_half_precision_on_a_cpu(start, straight, tmp_path):
    config = straight[0].parent / 'config.py'
    status, output = start('train', config, '--amp', '--work-dir', tmp_path / 'work', log=tmp_path / 'log')
    assert status == 0, output
    ours, theirs = (load(newest(folder))['state_dict'] for folder in (tmp_path / 'work', straight[0]))
    for name, tensor in ours.items():
        assert tensor.dtype == torch.float32
        assert not torch.equal(tensor, theirs[name])
        torch.testing.assert_close(tensor, theirs[name], atol=0.05, rtol=0)


def test_auto_scale_lr(start, straight, tmp_path):
    config = straight[0].parent / 'config.py'
    work = ('--work-dir', tmp_path / 'work')
    status, output = start('train', config, *work, '--auto-scale-lr', log=tmp_path / 'log')
    assert status == 1
    assert output.strip().endswith('has no auto_scale_lr=dict(base_batch_size=...)')
    base = ('--cfg-options', 'auto_scale_lr.base_batch_size=16')
    status, output = start('train', config, *work, '--auto-scale-lr', *base, log=tmp_path / 'log')
    assert status == 0, output
    rates = [
        load(newest(folder))['optimizer']['param_groups'][0]['initial_lr']
        for folder in (tmp_path / 'work', straight[0])
    ]
    assert rates[0] == rates[1] * 8 / 16


def test_no_validate(start, tmp_path):
    config = write_config(tmp_path / 'config.py', tmp_path / 'work', **{'val_dataloader.dataset.type': 'NoSuchDataset'})
    status, output = start('train', config, '--no-validate', log=tmp_path / 'log')
    assert status == 0, output


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'hooks': [hook(dict(type='DeepPromter'))]},
            "ValueError: unknown prompter 'DeepPromter'; did you mean DeepPrompter?",
        ),
        ({'hooks': [hook(tune=['haed'])]}, "ValueError: tune: 'haed' matches no parameter; names here have head"),
        ({'model.backbone.net.type': 'TimViT'}, "unknown net 'TimViT'; did you mean TimmViT?"),
        (
            {'model.backbone.net.model': 'vit_base_patch61_224'},
            "timm has no network 'vit_base_patch61_224'. Nearest: vit_",
        ),
        ({'model.backbone.net.weights': 'none.pth'}, 'there is no weight file '),
        ({'model.backbone.readout': 'clas'}, "readout 'clas' cannot be served: there is no such readout. Here you can"),
    ],
    ids=['prompter', 'tune', 'net', 'network', 'weights', 'readout'],
)
def test_a_wrong_config_ends_with_one_clear_line(start, tmp_path, change, message):
    config = write_config(tmp_path / 'config.py', tmp_path / 'work', **change)
    status, output = start('train', config, log=tmp_path / 'log')
    assert status == 1
    assert message in output.strip().splitlines()[-1]


def test_a_prompter_of_a_user(start, tmp_path, monkeypatch):
    """A dozen lines, in a module of the user's, next to where the tool is run; found by ``custom_imports``."""
    (tmp_path / 'my_prompters.py').write_text('''
import torch
from torch import nn

from vptx.prompters import TokenPrompter
from vptx.registry import PROMPTERS


@PROMPTERS.register_module(force=True)
class ScaledPrompter(TokenPrompter):
    """Deep prompts that are one set of vectors, scaled for every layer."""

    def bind(self, geometry, reads_prompts=False):
        super().bind(geometry, reads_prompts)
        self.vectors = nn.Parameter(0.1 * torch.randn(self.num_tokens, geometry.widths[0]))
        self.scales = nn.Parameter(torch.ones(geometry.depth))

    def prompts(self, tokens, at):
        return self.scales[at.layer] * self.vectors
''')
    config = write_config(
        tmp_path / 'config.py',
        'work',
        hooks=[hook(dict(type='ScaledPrompter', num_tokens=4))],
        **{
            'custom_imports.imports': ['vptx', 'runs', 'my_prompters'],
            'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth'))),
        },
    )
    status, output = start('train', config, cwd=tmp_path, log=tmp_path / 'log')
    assert status == 0, output
    saved = load(newest(tmp_path / 'work'))['state_dict']
    assert saved['backbone.prompter.vectors'].shape == (4, 32)
    assert not torch.equal(saved['backbone.prompter.scales'], torch.ones(2))
    monkeypatch.syspath_prepend(str(tmp_path))
    model = vptx.init_model(config, tmp_path / 'work' / 'prompt.safetensors')
    assert torch.equal(model.backbone.prompter.vectors, saved['backbone.prompter.vectors'])
