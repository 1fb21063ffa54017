"""The model as processes share it, in a group of one; what several learn is asked in test_many_processes.py."""

import gc
import weakref
from functools import partial

import pytest
import torch
import torch.distributed
from mmengine.config import Config
from mmengine.runner import FlexibleRunner
from runs import differences, hook, load, newest, runner, tiny_config, write_weights
from runs import net as tiny_net
from torch.nn.parallel import DistributedDataParallel

from vptx.configs import make_runner


@pytest.fixture
def group(monkeypatch):
    """A process group of this process."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    torch.distributed.init_process_group('gloo', store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()
    gc.collect()  # a process that a later test forks would wait for ever for the threads of a group that it collects


@pytest.fixture
def net(tmp_path):
    return tiny_net(weights=str(write_weights(tmp_path / 'weights.pth')))


ON_CPU = dict(launcher='pytorch', model_wrapper_cfg=dict(device_ids=None))


def in_buckets(model: DistributedDataParallel) -> set[str]:
    """Names of the parameters whose gradients are exchanged."""
    names = {id(parameter): name for name, parameter in model.module.named_parameters()}
    return {names[id(p)] for bucket in model.reducer._get_zeros_like_grad_buckets() for p in bucket.parameters()}


def test_what_is_frozen_is_in_no_bucket(tmp_path, group, net):
    run = runner(tmp_path, **ON_CPU, **{'model.backbone.net': net})
    whole = weakref.ref(run.model)  # as the Runner wrapped it, nothing frozen yet
    run.train()
    assert isinstance(run.model, DistributedDataParallel)
    assert run.model.static_graph and not run.model.find_unused_parameters and not run.model.broadcast_buffers
    trained = {name for name, parameter in run.model.module.named_parameters() if parameter.requires_grad}
    assert in_buckets(run.model) == trained == {n for n in trained if n.startswith(('head', 'backbone.prompter'))}
    gc.collect()
    assert whole() is None  # its buckets were as large as the network


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'optim_wrapper.accumulative_counts': 2},
        {'model.backbone.with_cp': True},
        {'optim_wrapper.type': 'BFloat16OptimWrapper'},
        {'hooks': [hook(), dict(type='EMAHook', momentum=0.3)]},
        {'optim_wrapper.type': 'SPSAOptimWrapper'},
        {'hooks': [hook(tune=['.*'])]},
    ],
    ids=['plain', 'accumulated', 'checkpointed', 'half', 'ema', 'no backward pass', 'all of it'],
)
def test_it_learns_the_same_as_without_a_group(tmp_path, group, net, changes):
    ends = []
    for folder, shared in (('alone', {}), ('group', ON_CPU)):
        run = runner(tmp_path / folder, **{'model.backbone.net': net, **changes}, **shared)
        run.train()
        ends.append(load(newest(tmp_path / folder)))
    assert isinstance(run.model, DistributedDataParallel)
    for key in ('state_dict', 'optimizer', 'ema_state_dict'):
        assert not differences(ends[1].get(key), ends[0].get(key))


def test_batch_statistics_of_tuned_parts_are_those_of_the_first_rank(tmp_path, group, net):
    head = dict(
        type='StackedLinearClsHead', num_classes=3, in_channels=32, mid_channels=[8], norm_cfg=dict(type='BN1d')
    )
    run = runner(tmp_path, **ON_CPU, **{'model.backbone.net': net, 'model.head': head | {'_delete_': True}})
    run.call_hook('before_run')
    assert run.model.broadcast_buffers and run.model.static_graph


def test_a_config_has_the_last_word(tmp_path, group, net):
    asked = dict(ON_CPU, model_wrapper_cfg=dict(device_ids=None, static_graph=False, bucket_cap_mb=1))
    run = runner(tmp_path, **asked, **{'model.backbone.net': net})
    run.call_hook('before_run')
    assert not run.model.static_graph and run.model.bucket_bytes_cap == 2**20
    run = runner(tmp_path, **ON_CPU, find_unused_parameters=True, **{'model.backbone.net': net})
    run.call_hook('before_run')
    assert run.model.find_unused_parameters and not run.model.static_graph


@pytest.mark.parametrize(
    ('setting', 'kind'), [('model_wrapper_cfg', 'MMFullyShardedDataParallel'), ('strategy', 'DeepSpeedStrategy')]
)
def test_parameters_shared_out_are_refused(tmp_path, setting, kind):
    refused = partial(pytest.raises, ValueError, match=rf"not by {setting}=dict\(type='{kind}'\).* Leave {setting} out")
    with refused():
        runner(tmp_path, **{setting: dict(type=kind)}).train()
    if not torch.cuda.is_available():
        with refused():  # before torch asks for a GPU
            make_runner(Config(tiny_config(tmp_path, launcher='pytorch', **{setting: dict(type=kind)})))


def test_the_runner_that_shares_them_out_is_refused(tmp_path):
    config = Config(tiny_config(tmp_path))
    config.experiment_name = 'flexible'
    run = FlexibleRunner.from_cfg(config)
    with pytest.raises(ValueError, match='PromptTuningHook trains by DistributedDataParallel, not by a FlexibleRunner'):
        run.train()


def test_processes_that_go_on_from_different_places_are_stopped(tmp_path, group, monkeypatch, net):
    """A work dir that not all machines see."""
    monkeypatch.setattr('vptx.hooks.guard_hook.all_gather', lambda value: [value, value + 3])
    with pytest.raises(RuntimeError, match=rf'begin at iterations 0, 3: .* see the same {tmp_path}'):
        runner(tmp_path, **ON_CPU, **{'model.backbone.net': net}).train()


@pytest.mark.parametrize(('what', 'calls'), [('what trains', 2), ('the frozen network', 3)])
def test_processes_that_have_loaded_different_files_are_stopped(tmp_path, group, monkeypatch, net, what, calls):
    """As a work dir or weights on local disks."""
    seen = []

    def gather(value):
        seen.append(value)
        return [value, value ^ 1 if len(seen) == calls else value]

    monkeypatch.setattr('vptx.hooks.guard_hook.all_gather', gather)
    with pytest.raises(RuntimeError, match=f'{what} begins with other values in process 1 than in process 0: all of'):
        runner(tmp_path, **ON_CPU, **{'model.backbone.net': net}).train()
