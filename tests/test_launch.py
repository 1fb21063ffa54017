"""Processes that cannot train together end, with one error of the first; others meet.

Most of them are threads with a store in this process; a few are processes of torchrun's.
"""

import os
import re
import socket
import subprocess
import sys
import time
from datetime import timedelta
from threading import Thread, current_thread
from types import SimpleNamespace

import pytest
import torch.distributed
from mmengine.config import Config
from runs import environment, net, write_config, write_weights

from vptx import launch
from vptx.configs import load_config

EQUAL = {'the version of torch': '2.14', 'optim_wrapper.optimizer.lr': '0.1'}


@pytest.fixture
def agree(tmp_path, monkeypatch):
    """Lets processes agree, each a dict of what differs; returns how each ended: None, or its error."""
    monkeypatch.setattr(launch, 'GRACE', 0)
    monkeypatch.setattr(launch, 'SEEN', 0.1)
    monkeypatch.setitem(os.environ, 'MASTER_ADDR', 'host0')
    monkeypatch.setitem(os.environ, 'MASTER_PORT', '29500')

    def run(*differing: dict, absent: int = 0, seconds: float = 20) -> list:
        store, ends = torch.distributed.HashStore(), [None] * len(differing)
        size = len(differing) + absent

        def one(rank: int, other: dict) -> None:
            said = dict(host=f'host{rank}', equal=EQUAL | other.get('equal', {}), gpu=other.get('gpu'))
            said |= {name: value for name, value in other.items() if name == 'host'}
            try:
                launch._agree(store, rank, size, said, other.get('work_dir', str(tmp_path / 'work')), seconds)
            except BaseException as error:
                ends[rank] = error

        threads = [Thread(target=one, args=each, name=f'rank {each[0]}') for each in enumerate(differing)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ends

    return run


def refused(ends: list, message: str) -> bool:
    """One error, of the first; the others end without words."""
    assert isinstance(ends[0], RuntimeError) and message in str(ends[0]), ends
    return all(isinstance(end, SystemExit) and end.code == 1 for end in ends[1:])


def test_equal_ones_meet_and_leave_nothing(tmp_path, agree):
    assert agree({}, {}, {}) == [None] * 3
    assert not list((tmp_path / 'work').iterdir())


@pytest.mark.parametrize(
    ('other', 'message'),
    [
        (
            dict(equal={'the version of torch': '2.13'}),
            'process 1 on host1 differs from process 0 on host0: the version of torch 2.13, not 2.14. All processes',
        ),
        (dict(equal={'optim_wrapper.optimizer.lr': '0.2'}), 'optim_wrapper.optimizer.lr 0.2, not 0.1'),
        (dict(equal={'train_cfg.val_begin': '3'}), 'train_cfg.val_begin 3, not none'),
        (dict(gpu='GPU-1'), 'process 1 on host1 has a GPU and process 0 on host0 finds none'),
        (dict(work_dir='/nowhere'), 'process 1 on host1 does not see the work dir of process 0 on host0'),
    ],
)
def test_one_that_differs(agree, other, message):
    assert refused(agree({}, other, {}), message)


def test_more_processes_than_gpus(agree):
    same = dict(host='host0')
    gpus = [dict(same, gpu=gpu) for gpu in ('GPU-0', 'GPU-1', '')]
    assert refused(agree(*gpus), '3 processes on host0, which has 2 GPUs for them: start one process for each GPU')
    assert agree(*gpus[:2]) == [None] * 2
    shared = dict(gpu='GPU-0'), dict(gpu='GPU-0', host='host0')
    assert refused(agree(*shared), '2 processes on host0, which has 1 GPUs for them')


@pytest.mark.parametrize(('offset', 'found'), [(4000, '4000 s later'), (-4000, '4000 s earlier'), (5, '')])
def test_clocks_that_differ(agree, monkeypatch, offset, found):
    clock = SimpleNamespace(
        time=lambda: time.time() + offset * (current_thread().name == 'rank 1'),
        monotonic=time.monotonic,
        sleep=time.sleep,
    )
    monkeypatch.setattr(launch, 'time', clock)
    ends = agree({}, {}, {})
    if not found:
        assert ends == [None] * 3
        return
    assert refused(ends, f'the clock of process 1 on host1 shows a time {found} than that of process 0 on host0')


def test_one_that_does_not_come(agree):
    ends = agree({}, {}, absent=1, seconds=0.5)
    assert '1 of 3 processes have not come within 0.5 s: 2. Have they started' in str(ends[0])
    assert isinstance(ends[1], SystemExit)


def test_the_one_that_keeps_the_store_ends(tmp_path):
    keeper = """if True:
        import os, sys, time
        from torch.distributed import TCPStore
        store = TCPStore('localhost', 0, 2, True, wait_for_workers=False)
        print(store.port, flush=True)
        sys.stdin.readline()
        os._exit(0)
    """
    command = [sys.executable, '-c', keeper]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        store = torch.distributed.TCPStore('localhost', int(process.stdout.readline()), 2, False)
        ends = []

        def wait() -> None:
            with pytest.raises(SystemExit) as end:
                launch._agree(store, 1, 2, dict(host='host1', equal=EQUAL, gpu=None), str(tmp_path), 20)
            ends.append(end.value.code)

        thread = Thread(target=wait)
        thread.start()
        time.sleep(0.3)  # it waits for the first one
        process.communicate('\n')
        thread.join()
    assert re.fullmatch(r'process 1 on \S+ has lost the process that keeps their store', ends[0])


def test_a_work_dir_that_cannot_be_written(tmp_path, agree):
    (tmp_path / 'file').touch()
    folder = str(tmp_path / 'file' / 'work')
    ends = agree(dict(work_dir=folder), dict(work_dir=folder))
    assert refused(ends, f'cannot write to the work dir {folder} (Not a directory): give a folder')


def test_those_that_are_started_again_meet_in_a_store_of_before():
    """It holds the words of more processes than there are now."""
    store, wait = torch.distributed.HashStore(), timedelta(seconds=20)
    before, after = ([None] * size for size in (3, 2))

    def gather(parts: list, rank: int) -> None:
        parts[rank] = launch._gather(store, rank, len(parts), wait)
        parts[rank].set(f'{rank}', 'is here')

    for parts in (before, after):
        threads = [Thread(target=gather, args=(parts, rank)) for rank in reversed(range(len(parts)))]
        for thread in threads:  # the first process comes last, and finds the words of the others, old and new
            thread.start()
        for thread in threads:
            thread.join()
        assert all(part.check([f'{rank}']) for part in parts for rank in range(len(parts)))
    assert not after[0].check(['2'])


@pytest.mark.parametrize(
    ('nodes', 'first'),
    [
        ('node1', 'node1'),
        ('node[1-2]', 'node1'),
        ('gpu[03-05,09],login1', 'gpu03'),
        ('a1,b2', 'a1'),
        ('rack[0-1]n[4,6]x', 'rack0n4x'),
    ],
)
def test_the_first_node_of_slurm(nodes, first):
    assert launch._first(nodes) == first


@pytest.mark.parametrize(('launcher', 'lacks'), [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM')])
def test_a_process_that_its_launcher_has_not_started(tmp_path, monkeypatch, launcher, lacks):
    for name in [name for name in os.environ if name.startswith(('RANK', 'SLURM_', 'OMPI_'))]:
        monkeypatch.delenv(name)
    with pytest.raises(ValueError, match=f'--launcher {launcher}: {lacks}.* is not set, so this process was not start'):
        launch.join(Config(dict(launcher=launcher, work_dir=str(tmp_path))))


def test_slurm_and_mpi_say_where_a_process_is(monkeypatch):
    for name in ('MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    slurm = dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1', SLURM_STEP_NODELIST='n[7-8]', SLURM_JOB_ID='12')
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    assert launch.number_of_processes('slurm') == 4
    found = [os.environ[name] for name in ('RANK', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')]
    assert found == ['3', '1', 'n7', '20012']
    monkeypatch.delenv('MASTER_ADDR')
    for name, value in dict(RANK='1', SIZE='2', LOCAL_RANK='0', LOCAL_SIZE='1').items():
        monkeypatch.setenv(f'OMPI_COMM_WORLD_{name}', value)
    with pytest.raises(ValueError, match=r'MASTER_ADDR is not set; .* mpirun -x MASTER_ADDR='):  # two machines
        launch.number_of_processes('mpi')


def asked(config, **given) -> SimpleNamespace:
    return SimpleNamespace(**dict(config=str(config), work_dir=None, cfg_options={}, launcher='pytorch') | given)


def test_a_batch_is_shared_by_all(tmp_path, monkeypatch):
    config = write_config(tmp_path / 'c.py', tmp_path / 'work')
    for name, value in dict(RANK='0', WORLD_SIZE='3', LOCAL_RANK='0', MASTER_ADDR='localhost').items():
        monkeypatch.setenv(name, value)
    assert load_config(asked(config, total_batch_size=12)).train_dataloader.batch_size == 4
    with pytest.raises(
        ValueError, match=r'--total-batch-size 16 cannot be shared equally by 3 processes: .* such as 15'
    ):
        load_config(asked(config, total_batch_size=16))


def test_two_with_other_settings_end_with_one_error(tmp_path, torchrun):
    """Real processes; the config of each has another learning rate, as if their files differed."""
    changes = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    config = write_config(tmp_path / 'c.py', tmp_path / 'work', **changes)
    config.write_text(f"{config.read_text()}\nimport os\noptim_wrapper['optimizer']['lr'] += int(os.environ['RANK'])\n")
    status, said = torchrun(2, 'train', config, log=tmp_path / 'log')
    assert status != 0
    assert re.search(r'RuntimeError: process 1 on .* optim_wrapper.optimizer.lr 1.01, not 0.01. All', said), said
    assert re.search(r'rank +: 0 \(local_rank: 0\)\n +exitcode +: 1 ', said) and 'SystemExit' not in said, said


@pytest.mark.slow
@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ("sys.modules['torch'].__version__ = '2.9'", 'the version of torch 2.9, not 2.'),
        ("sys.modules['vptx.launch'].__file__ = '/none/x.py'", 'the code of vptx '),
        ('time.time = lambda now=time.time: now() + 3600', 'shows a time 3600 s later than that of process 0'),
        ("train_dataloader['dataset']['number'] = 30", 'the processes have 24, 30 training images'),
    ],
    ids=['version', 'code', 'clock', 'images'],
)
def test_two_that_differ_end_with_one_error(tmp_path, torchrun, line, message):
    config = write_config(tmp_path / 'c.py', tmp_path / 'work')
    imports = 'import os\nimport sys\nimport time\n'  # of the standard library: of others MMEngine makes stand-ins
    config.write_text(f"{config.read_text()}\n{imports}if os.environ['RANK'] == '1':\n    {line}\n")
    status, said = torchrun(2, 'train', config, log=tmp_path / 'log')
    assert status != 0
    assert message in said, said
    assert not list((tmp_path / 'work').glob('*.pth'))


@pytest.mark.slow
def test_a_folder_that_is_full_or_read_only_ends_all(tmp_path, torchrun):
    if os.geteuid() != 0:
        pytest.skip('only root may mount a folder of a given size')
    work, config = tmp_path / 'work', tmp_path / 'c.py'
    work.mkdir()
    write_config(config, work)
    for options, message in (
        ('ro', f'cannot write to the work dir {work} (Read-only file system)'),
        ('size=24k', f'cannot write to the work dir {work} (No space left on device)'),
    ):
        subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'none', str(work)], check=True)
        try:
            status, said = torchrun(2, 'train', config, log=tmp_path / 'log')
        finally:
            subprocess.run(['umount', str(work)], check=True)
        assert status != 0
        assert message in said, said


@pytest.mark.parametrize(
    ('variables', 'message'),
    [
        (dict(MASTER_PORT='{port}'), 'port {port} of 127.0.0.1 is in use by another process: set MASTER_PORT'),
        (dict(MASTER_PORT='x'), 'MASTER_PORT=x is no port: give a number'),
        (dict(NNODES='2', MASTER_ADDR='no-such-host.invalid'), 'cannot resolve MASTER_ADDR=no-such-host.invalid'),
    ],
    ids=['in use', 'no port', 'no host'],
)
def test_a_meeting_that_cannot_be(tmp_path, variables, message):
    """Of ``tools/dist_train.sh``, before torch is imported."""
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        port = other.getsockname()[1]
        variables = {name: value.format(port=port) for name, value in variables.items()}
        done = subprocess.run(
            ['tools/dist_train.sh', 'c.py', '2'],
            env={**environment(), 'PYTHON': sys.executable, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert message.format(port=port) in line


@pytest.mark.slow
def test_a_port_that_another_run_has_taken(tmp_path):
    """The first process of a run whose launcher does not look first, such as srun."""
    config = write_config(tmp_path / 'c.py', tmp_path / 'work')
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        place = dict(RANK='0', WORLD_SIZE='2', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1')
        done = subprocess.run(
            [sys.executable, 'tools/train.py', str(config), '--launcher', 'pytorch'],
            env={**environment(), **place, 'MASTER_PORT': str(other.getsockname()[1])},
            capture_output=True,
            text=True,
            timeout=600,  # imports take minutes on a busy machine
        )
    assert done.returncode == 1
    assert 'RuntimeError: port ' in done.stderr and ' of 127.0.0.1 is in use by another process' in done.stderr
