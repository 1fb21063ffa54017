"""What makes training cheaper changes nothing else: half precision, checkpointed activations, several processes."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from runs import differences, load, newest
from segruns import seg_config, write_images, write_seg_config
from torch import nn

from vptx.datasets.mini import scenes
from vptx.kept import file_names
from vptx.prompt_file import read_prompt

MINI = Path(__file__).parents[2] / 'configs' / 'seg' / 'mini_vpt.py'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def train(start, data, tmp_path_factory):
    """Trains with arguments of the tool, and with another config; returns the last checkpoint."""

    def run(*arguments: str, **changes) -> dict:
        folder = tmp_path_factory.mktemp('run')
        config = write_seg_config(folder / 'config.py', folder / 'work', data, **changes)
        status, output = start('train', config, *arguments, log=folder / 'log')
        assert status == 0, output
        return load(newest(folder / 'work'))['state_dict']

    return run


def test_engines(train):
    plain = train()
    checkpointed = train('--cfg-options', 'model.backbone.with_cp=True')
    assert not differences(checkpointed, plain)
    half = train('--amp')
    assert plain.keys() == half.keys() and differences(half, plain)
    for name, tensor in half.items():
        assert tensor.dtype == plain[name].dtype  # what is learnt stays in single precision
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, plain[name], rtol=0.1, atol=0.05)


@pytest.mark.parametrize('many', [False, True])
def test_batch_norm_is_synchronised_where_processes_train_together(data, tmp_path, monkeypatch, many):
    """One config for both. Torch synchronises on GPUs only, so here the model is wrapped, and not run."""
    runner = Runner.from_cfg(seg_config(tmp_path, data, experiment_name=f'batch norm, many {many}'))
    wrap = 'mmengine.runner.runner.MODEL_WRAPPERS.build'
    monkeypatch.setattr(wrap, lambda config, default_args: default_args['module'])
    monkeypatch.setenv('LOCAL_RANK', '0')
    runner._distributed = many
    runner.call_hook('before_run')  # plugs, and wraps the model again
    norms = [module for module in runner.model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(norm, nn.SyncBatchNorm) is many for norm in norms)


def test_two_processes_train_the_mini_recipe(tmp_path, torchrun):
    """As a user runs it: equal prompts and heads on both, each with images of its own, one checkpoint;
    each image is evaluated once."""
    scenes.write(tmp_path / 'mini', train=8, val=3, test=0, size=64)
    config = Config.fromfile(MINI)
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        loader.dataset.data_root = str(tmp_path / 'mini')
    config.train_dataloader.batch_size = 2
    config.train_cfg.update(max_iters=2, val_interval=2)
    config.custom_imports.imports.append('runs')
    config.custom_hooks.append(dict(type='DumpRank'))
    config.val_evaluator = [config.val_evaluator, dict(type='Evaluated')]
    config.dump(str(tmp_path / 'config.py'))
    arguments = (tmp_path / 'config.py', '--work-dir', tmp_path / 'work')
    status, output = torchrun(2, 'train', *arguments, log=tmp_path / 'log')
    assert status == 0, output
    assert re.search(r'images: 3 +different: 3\b', output)  # of which one process has two
    first, second = (load(tmp_path / 'work' / f'rank_{rank}.pth') for rank in range(2))
    assert not differences(first['state'], second['state'])
    assert first['images'] and first['images'].isdisjoint(second['images'])
    saved = load(newest(tmp_path / 'work'))['state_dict']
    assert not differences({name: saved[name] for name in first['state']}, first['state'])
    names = file_names(list(first['state']), 'backbone.')
    assert set(names.values()) <= read_prompt(tmp_path / 'work' / 'prompt.safetensors')[0].keys()
