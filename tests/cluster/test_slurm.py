"""Runs under a real Slurm of two nodes: trained, lost, signalled, queued again. ``make test-cluster`` runs them."""

import json
import re
import shutil
import sys

import pytest
import torch
from runs import differences, hook, load, loader, net, newest, runner, write_config, write_weights
from slurm import Slurm, why_not

pytestmark = pytest.mark.slow

KEPT = ('state_dict', 'optimizer', 'param_schedulers')
TWO = dict(GPUS='0', NTASKS='2', NODES='2', CPUS_PER_TASK='1')


@pytest.fixture(scope='module')
def slurm(tmp_path_factory):
    if reason := why_not():
        pytest.skip(reason)
    with Slurm(tmp_path_factory.mktemp('slurm')) as running:
        yield running


@pytest.fixture
def changes(tmp_path):
    return {
        'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth'))),
        'optim_wrapper.optimizer': dict(type='SGD', lr=0.1, momentum=0.9),
        'train_dataloader': {**loader(True), 'batch_size': 12},
        'env_cfg.dist_cfg': dict(timeout=60),
    }


def test_four_tasks_without_gpus_learn_what_one_process_learns(tmp_path, slurm, changes):
    """On two nodes, by gloo."""
    hooks = [hook(dict(type='DeepPrompter', num_tokens=3))]  # without dropout
    runner(tmp_path / 'one', hooks=hooks, **changes).train()
    config = write_config(tmp_path / 'c.py', tmp_path / 'four', hooks=hooks, **changes)
    command = ['slurm_train.sh', 'cpu', 'tiny', str(config), '--total-batch-size', '12']
    status, said = slurm.run(*command, cwd=tmp_path, GPUS='0', NTASKS='4', NODES='2', CPUS_PER_TASK='1')
    assert status == 0, said
    ours, theirs = (load(newest(tmp_path / folder)) for folder in ('four', 'one'))
    assert ours['meta']['resume']['surroundings']['number of processes'] == 4
    for name, tensor in ours['state_dict'].items():
        torch.testing.assert_close(tensor, theirs['state_dict'][name], rtol=1e-4, atol=1e-5)


def test_a_job_gets_the_gpus_that_it_asks_for(tmp_path, slurm, changes):
    """Of the second node, whose two are not real: training on them is gloo's."""
    python = tmp_path / 'python'
    python.write_text(f'#!/bin/sh\necho "$SLURMD_NODENAME sees <$CUDA_VISIBLE_DEVICES>"\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    config = write_config(tmp_path / 'c.py', tmp_path / 'work', **changes)
    own = dict(CPUS_PER_TASK='1', PYTHON=str(python))
    status, said = slurm.run('slurm_train.sh', 'gpu', 'tiny', str(config), cwd=tmp_path, GPUS='2', **own)
    assert status == 0, said
    assert said.count('node2 sees <0,1>') == 2, said
    assert load(newest(tmp_path / 'work'))['meta']['resume']['surroundings']['number of processes'] == 2
    command = ['slurm_train.sh', 'gpu', 'none', '--help']
    status, said = slurm.run(*command, cwd=tmp_path, GPUS='0', **own)
    assert status == 0 and 'node2 sees <>' in said, said
    status, said = slurm.run(*command, cwd=tmp_path, GPUS='3', **own)
    assert status != 0 and 'Requested node configuration is not available' in said, said


def test_a_job_that_loses_a_node_is_queued_again_and_ends_with_the_same_bits(tmp_path, slurm, changes):
    changes |= {'train_cfg.max_epochs': 6, 'train_dataloader.dataset.type': 'SlowImages'}
    straight = write_config(tmp_path / 'straight.py', tmp_path / 'straight', **changes)
    rest = ('--total-batch-size', '12')
    status, said = slurm.run('slurm_train.sh', 'cpu', 'straight', str(straight), *rest, cwd=tmp_path, **TWO)
    assert status == 0, said
    config, work = write_config(tmp_path / 'c.py', tmp_path / 'work', **changes), tmp_path / 'work'
    how = dict(TWO, BATCH='1', MAX_RESTARTS='2', SLOW_RANK='0')
    status, said = slurm.run('slurm_train.sh', 'cpu', 'tiny', str(config), *rest, cwd=tmp_path, **how)
    assert status == 0, said
    number = re.findall(r'Submitted batch job (\d+)', said)[-1]
    slurm.wait(lambda: (work / 'epoch_2.pth').exists(), 200, 'second epoch')
    slurm.kill('node2')
    slurm.wait(lambda: slurm.job(number)['Restarts'] == '1', 120, 'job that is queued again')
    done = load(newest(work))['meta']['epoch']
    assert 2 <= done < 6
    slurm.boot('node2')
    slurm.wait(lambda: slurm.job(number)['JobState'] == 'COMPLETED', 300, 'end of the job')
    ours, theirs = ({key: load(newest(folder))[key] for key in KEPT} for folder in (work, tmp_path / 'straight'))
    assert not differences(ours, theirs)
    assert (work / 'prompt.safetensors').is_file()


def test_a_job_saves_before_its_time_limit_and_is_queued_again(tmp_path, slurm, changes):
    """One of three minutes, signalled one minute before their end, or at most a minute earlier."""
    changes |= {'train_cfg.max_epochs': 1000, 'train_dataloader.dataset.type': 'SlowImages'}
    changes |= {'default_hooks.checkpoint.interval': 1000}  # nothing else saves
    config, work = write_config(tmp_path / 'c.py', tmp_path / 'work', **changes), tmp_path / 'work'
    how = dict(TWO, BATCH='1', SLOW_RANK='0', TIME='3', SIGNAL='60')
    status, said = slurm.run('slurm_train.sh', 'cpu', 'limited', str(config), cwd=tmp_path, **how)
    assert status == 0, said
    number = re.findall(r'Submitted batch job (\d+)', said)[-1]
    log = tmp_path / f'limited-{number}.log'
    slurm.wait(lambda: slurm.job(number)['Restarts'] == '1', 240, 'job that is queued again')
    done = load(newest(work))['meta']['epoch']
    assert f'ended by SIGUSR1 after epoch {done} of 1000, with a checkpoint in {work}' in log.read_text()
    assert 'DUE TO TIME LIMIT' not in log.read_text()
    # It continues: a second checkpoint can only come from the second signal.
    slurm.wait(lambda: slurm.job(number)['Restarts'] == '2', 300, 'job that is queued a second time')
    slurm.cancel(number)
    assert load(newest(work))['meta']['epoch'] > done


def test_a_partition_that_does_not_exist(tmp_path, slurm):
    for batch in ('', '1'):
        status, said = slurm.run('slurm_train.sh', 'nope', 'tiny', 'c.py', cwd=tmp_path, BATCH=batch, **TWO)
        assert status != 0
        assert 'invalid partition specified: nope' in said


def test_nodes_that_do_not_resolve_are_named_once(tmp_path, slurm, changes):
    config = write_config(tmp_path / 'c.py', tmp_path / 'work', **changes)
    command = ['slurm_train.sh', 'cpu', 'tiny', str(config)]
    one = dict(TWO, NTASKS='2', NODES='1', MASTER_ADDR='no-such-host.invalid')
    status, said = slurm.run(*command, cwd=tmp_path, **one)
    assert status != 0
    assert said.count('cannot resolve MASTER_ADDR=no-such-host.invalid') == 1, said


def test_an_experiment_is_shared_by_a_job_array(tmp_path, slurm, changes):
    configs = [write_config(tmp_path / f'{name}.py', tmp_path / 'unused', **changes) for name in ('first', 'second')]
    out = tmp_path / 'out'
    options = ['--out', str(out), '--factors', '1', '--seeds', '1']
    how = dict(GPUS_PER_JOB='0', CPUS_PER_TASK='1')
    command = ['slurm_experiment.sh', 'cpu', 'study', '2', *map(str, configs), *options]
    status, said = slurm.run(*command, cwd=tmp_path, **how)
    assert status == 0, said
    array, last = said.split()
    slurm.wait(lambda: slurm.job(last)['JobState'] == 'COMPLETED', 400, 'end of the experiment')
    outcomes = json.loads((out / 'results.json').read_text())
    assert len(outcomes) == 2 and not any(outcome['missing'] for outcome in outcomes)
    for share, name in enumerate(('first', 'second')):
        log = (tmp_path / f'study-{array}_{share}.log').read_text()
        assert f'{name}/' in log and not re.search({'first': 'second', 'second': 'first'}[name] + '/', log)
        assert len(json.loads((out / f'share_{share}' / 'results.json').read_text())) == 1
    shutil.rmtree(out)
