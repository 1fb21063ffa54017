"""Two and three machines learn what one process learns; one that is lost ends the others, or they continue without it.

The machines are network namespaces (hosts.py). ``make test-cluster`` runs this file.
"""

import shutil
import subprocess
import sys
import time

import pytest
import torch
from hosts import Hosts, wait_for, why_not
from runs import environment, hook, load, loader, net, newest, runner, tool, write_config, write_weights

pytestmark = pytest.mark.slow

DEEP = hook(dict(type='DeepPrompter', num_tokens=3))
TIMEOUT = 20  # of every exchange, in seconds


@pytest.fixture
def changes(tmp_path):
    """No two processes draw different numbers; SGD shows the length of a gradient."""
    return {
        'hooks': [DEEP],
        'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth'))),
        'optim_wrapper.optimizer': dict(type='SGD', lr=0.1, momentum=0.9),
        'train_dataloader': {**loader(True), 'batch_size': 12},
        'train_cfg.max_epochs': 4,
        'env_cfg.dist_cfg': dict(timeout=TIMEOUT),
    }


@pytest.fixture
def hosts(tmp_path):
    """Makes so many machines."""
    if reason := why_not():
        pytest.skip(reason)
    made = []

    def make(number: int) -> Hosts:
        made.append(Hosts(number, tmp_path))
        return made[-1].__enter__()

    yield make
    for each in made:
        each.__exit__()


def trained(folder):
    return load(newest(folder))['state_dict']


def close(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-5)


def test_two_hosts_learn_what_one_process_learns(tmp_path, hosts, changes):
    """One of them with a slow disk: reading an image takes it 0.1 s."""
    runner(tmp_path / 'one', **changes).train()
    slow = {**changes, 'train_dataloader.dataset.type': 'SlowImages'}
    config = write_config(tmp_path / 'c.py', tmp_path / 'two', **slow)
    made = hosts(2)
    processes = [made.train(i, config, '--total-batch-size', '12', SLOW_RANK='1') for i in range(2)]
    for process in processes:
        assert process.wait(300) == 0, process.said()
    close(trained(tmp_path / 'two'), trained(tmp_path / 'one'))
    assert (tmp_path / 'two' / 'prompt.safetensors').is_file()


@pytest.mark.parametrize('way', ['killed', 'cut off'])
def test_a_lost_host_ends_the_other(tmp_path, hosts, changes, way):
    """Within the timeout of an exchange, and the seconds in which torchrun ends its processes."""
    config = write_config(tmp_path / 'c.py', tmp_path / 'work', **changes | {'train_cfg.max_epochs': 100_000})
    made = hosts(2)
    first, second = (made.train(i, config, '--total-batch-size', '12') for i in range(2))
    wait_for(tmp_path / 'work' / 'last_checkpoint', 200, first, second)  # the first one is soon removed
    if way == 'killed':
        second.kill()
    else:
        made.cut(1)
    lost = time.monotonic()
    assert first.wait(TIMEOUT + 120) != 0
    print(f'{way}: ended {time.monotonic() - lost:.0f} s later')
    if way == 'cut off':  # the other ends, too
        assert second.wait(120) != 0
    assert load(newest(tmp_path / 'work'))['meta']['epoch'] >= 1


def test_three_hosts_continue_as_two(tmp_path, hosts, changes):
    """One is killed; the others meet again and end as one process that nothing stopped."""
    runner(tmp_path / 'one', **changes).train()
    slow = {**changes, 'train_dataloader.dataset.type': 'SlowImages'}  # so that there is time to kill it
    config = write_config(tmp_path / 'c.py', tmp_path / 'three', **slow)
    made = hosts(3)
    more = dict(nodes='2:3', SLOW_RANK='0')
    processes = [made.train(i, config, '--total-batch-size', '12', **more) for i in range(3)]
    wait_for(tmp_path / 'three' / 'epoch_1.pth', 300, *processes)
    assert load(tmp_path / 'three' / 'epoch_1.pth')['meta']['resume']['surroundings']['number of processes'] == 3
    processes[2].kill()
    lost = time.monotonic()
    for process in processes[:2]:
        assert process.wait(400) == 0, process.said()
    print(f'ended {time.monotonic() - lost:.0f} s after the loss')
    end = load(newest(tmp_path / 'three'))
    assert end['meta']['resume']['surroundings']['number of processes'] == 2
    close(end['state_dict'], trained(tmp_path / 'one'))


@pytest.mark.parametrize(
    ('folder', 'first', 'message'),
    [
        (
            'of its own',
            'mount -t tmpfs none {work}',
            'process 1 on host1 does not see the work dir of process 0 on host0',
        ),
        ('read-only', 'mount --bind -o ro {work} {work}', 'process 1 on host1 cannot write to the work dir'),
    ],
)
def test_a_work_dir_that_is_not_shared(tmp_path, hosts, changes, folder, first, message):
    work = tmp_path / 'work'
    work.mkdir()
    config = write_config(tmp_path / 'c.py', work, **changes)
    made = hosts(2)
    processes = [made.train(i, config, first=(first if i else '').format(work=work)) for i in range(2)]
    assert all(process.wait(200) != 0 for process in processes)
    assert f'RuntimeError: {message}' in processes[0].said()
    assert 'does not see' not in processes[1].said() and 'cannot write' not in processes[1].said()
    assert not list(work.iterdir())


def test_mpirun(tmp_path, changes):
    """Open MPI's, on one machine."""
    if shutil.which('mpirun') is None:
        pytest.skip('there is no mpirun (openmpi-bin)')
    runner(tmp_path / 'one', **changes).train()
    config = write_config(tmp_path / 'c.py', tmp_path / 'two', **changes)
    allowed = dict(OMPI_ALLOW_RUN_AS_ROOT='1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1', MASTER_PORT='29641')
    done = subprocess.run(
        ['mpirun', '--oversubscribe', '-np', '2', sys.executable, 'tools/train.py', config]
        + ['--launcher', 'mpi', '--total-batch-size', '12'],
        env=environment() | allowed,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    close(trained(tmp_path / 'two'), trained(tmp_path / 'one'))
    alone = tool('train', config, '--launcher', 'mpi', check=False)
    assert alone.returncode != 0
    assert "OMPI_COMM_WORLD_RANK is not set, so this process was not started by it. Start the run by Open MPI's" in (
        alone.stderr
    )
