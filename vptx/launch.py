"""The processes of a run meet, and check before they load anything that they can train together.

Each writes what it is into the store at which they meet: versions, code, settings, GPU, clock, and whether it sees the
work dir. The first one compares, and raises one error for all; the others end without a message of their own.
"""

import json
import os
import platform
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from torch.distributed import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

__all__ = ['TIMEOUT', 'join', 'number_of_processes']

#: Seconds that a process waits for others to start, and in an exchange unless ``env_cfg.dist_cfg.timeout`` differs.
TIMEOUT = 600
#: Seconds that clocks may differ by, that a file may take to be seen by all machines, and that processes without a
#: message give the first one to raise its error.
CLOCKS, SEEN, GRACE = 60, 20, 10
#: Bytes that must fit into the work dir, those of a checkpoint and logs.
PROBE = 2**20
#: What must be equal in all processes.
_LEARNS = ('auto_scale_lr', 'optim_wrapper', 'param_scheduler', 'randomness', 'train_cfg', 'val_cfg')
_PACKAGES = ('torch', 'timm', 'onedl-mmengine', 'onedl-mmpretrain', 'onedl-mmcv')


def join(config: Config) -> None:
    """Start the process group that ``config.launcher`` stands for: NCCL where there are GPUs, else gloo.

    Does nothing where there is a group already, and leaves other accelerators to MMEngine.

    Args:
        config: ``env_cfg.dist_cfg.timeout`` is how many seconds a process waits for the others in every exchange, by
            default ``TIMEOUT``; ``backend`` of the same replaces NCCL.

    Raises:
        ValueError: a launcher that has not started this process; a host that cannot be resolved.
        RuntimeError: in the first process, what prevents that they train together. The others end by ``SystemExit``.
    """
    kind = get_device()
    if config.get('launcher', 'none') == 'none' or torch.distributed.is_initialized() or kind not in ('cpu', 'cuda'):
        return
    _read_environment(config.launcher)
    rank, size = int(os.environ['RANK']), int(os.environ['WORLD_SIZE'])
    settings = (config.get('env_cfg') or {}).get('dist_cfg') or {}
    store = _meet(rank, size, TIMEOUT)
    said = dict(_facts(config), gpu=_take_gpu() if kind == 'cuda' else None)
    store = _agree(store, rank, size, said, config.get('work_dir'), TIMEOUT)
    torch.distributed.init_process_group(
        settings.get('backend', 'nccl') if kind == 'cuda' else 'gloo',
        store=PrefixStore('group', store),
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=float(settings.get('timeout') or TIMEOUT)),
    )


def number_of_processes(launcher: str) -> int:
    """How many processes ``launcher`` has started for this run.

    Raises:
        ValueError: it has not started this process.
    """
    if launcher != 'none':
        _read_environment(launcher)
    return int(os.environ['WORLD_SIZE']) if launcher != 'none' else 1


def _read_environment(launcher: str) -> None:
    """Give this process's place the names that torch reads, whichever launcher has set it.

    Raises:
        ValueError: the launcher has not started this process.
    """
    place = dict(
        pytorch=('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'tools/dist_train.sh'),
        slurm=('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID', 'tools/slurm_train.sh'),
        mpi=('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK', "Open MPI's mpirun"),
    )[launcher]
    lacking = [name for name in place[:3] if name not in os.environ]
    if lacking:
        raise ValueError(
            f'--launcher {launcher}: {lacking[0]} is not set, so this process was not started by it. Start the run by '
            f'{place[3]}, or leave --launcher out'
        )
    os.environ.update(zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), (os.environ[name] for name in place[:3])))
    job = 0
    if launcher == 'slurm':
        nodes = os.environ.get('SLURM_STEP_NODELIST') or os.environ['SLURM_NODELIST']
        os.environ.setdefault('MASTER_ADDR', _first(nodes))
        job = int(os.environ.get('SLURM_JOB_ID', 0)) + 7 * int(os.environ.get('SLURM_STEP_ID', 0))
    elif launcher == 'mpi' and os.environ['OMPI_COMM_WORLD_SIZE'] == os.environ['OMPI_COMM_WORLD_LOCAL_SIZE']:
        os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    if 'MASTER_ADDR' not in os.environ:
        raise ValueError(
            f'--launcher {launcher}: MASTER_ADDR is not set; give all processes the address of the first machine, with '
            'mpirun as in mpirun -x MASTER_ADDR=10.0.0.1'
        )
    # Two jobs on one machine rarely get the same port.
    os.environ.setdefault('MASTER_PORT', str(20000 + job % 10000 if job else 29500))


def _first(nodes: str) -> str:
    """The first of Slurm's list of nodes: ``gpu03`` of ``gpu[03-05,09],login1``."""
    found = re.match(r'(?:[^,\[]|\[[^\]]*\])+', nodes)
    return re.sub(r'\[(\w+)[^\]]*\]', r'\1', found[0] if found else nodes)


def _meet(rank: int, size: int, seconds: float) -> Store:
    """The store of this run; after a restart it may be the one from before.

    Raises:
        ValueError: the first host cannot be resolved.
        RuntimeError: the port is in use, or the first process cannot be reached.
    """
    host, port = os.environ['MASTER_ADDR'], os.environ['MASTER_PORT']
    try:
        socket.getaddrinfo(host, port)
    except OSError as error:
        if os.environ['LOCAL_RANK'] != '0':  # the first one of its machine says so
            _end_quietly()
        raise ValueError(
            f'{platform.node()} cannot resolve MASTER_ADDR={host} ({error.strerror}): set MASTER_ADDR to the IP '
            'address of the first machine'
        ) from None
    try:
        return next(rendezvous('env://', rank, size, timeout=timedelta(seconds=seconds)))[0]
    except torch.distributed.DistError as error:
        if rank == 0 and 'EADDRINUSE' in str(error):
            raise RuntimeError(
                f'port {port} of {host} is in use by another process: set MASTER_PORT to a free one'
            ) from None
        raise RuntimeError(
            f'process {rank} on {platform.node()} has not reached process 0 at {host}:{port} within {seconds:g} s: '
            'has it started, and does no firewall prevent it?'
        ) from None


def _facts(config: Config) -> dict[str, Any]:
    """What must be equal in all processes, in words."""
    code, root = sha256(), Path(__file__).parent
    for path in sorted(root.rglob('*.py')):
        if '.mim' not in path.parts:
            code.update(f'{path.relative_to(root)}\n'.encode() + path.read_bytes())
    settings = {name: config.get(name) for name in _LEARNS}
    settings['train_dataloader.batch_size'] = (config.get('train_dataloader') or {}).get('batch_size')
    equal = {f'the version of {name}': _version(name) for name in _PACKAGES}
    equal |= {'the version of Python': platform.python_version(), 'the code of vptx': code.hexdigest()[:12]}
    equal |= {path: f'{value}' for path, value in _settings('', settings)}
    return dict(host=platform.node(), equal=equal)


def _version(package: str) -> str:
    with suppress(ModuleNotFoundError):  # an official release in its place
        return torch.__version__ if package == 'torch' else version(package)
    return 'unknown'


def _settings(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | list | tuple):
        for name, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _settings(f'{path}.{name}'.lstrip('.'), part)
    else:
        yield path, value


def _take_gpu() -> str:
    """Make one GPU that of this process; what names it among those of its machine, empty if there is none left."""
    local, count = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
    index = 0 if count == 1 else local  # Slurm may show each of its tasks only the task's own
    if index >= count:
        return ''
    torch.cuda.set_device(index)
    return str(torch.cuda.get_device_properties(index).uuid)


def _agree(store: Store, rank: int, size: int, said: Mapping, work_dir: str | None, seconds: float) -> Store:
    """The store of these processes alone, if all can train together.

    Raises:
        RuntimeError: in the first process, says why they cannot.
        SystemExit: in the others.
    """
    sign = _leave_sign(work_dir) if rank == 0 else None
    wait = timedelta(seconds=seconds)
    try:
        store = _gather(store, rank, size, wait)
        if rank == 0:
            store.set('sign', sign.name if isinstance(sign, Path) else '')
        store.wait(['sign'], wait)
        name = store.get('sign').decode()
        seen = not name or _is_seen(Path(str(work_dir), name))
        store.set(
            f'said/{rank}', json.dumps(dict(said, seen=seen, writes=not name or os.access(str(work_dir), os.W_OK)))
        )
        if rank == 0:
            fault = sign if isinstance(sign, str) else ''
            fault = fault or _compare(store, size, wait)
            store.set('clock', '')  # the others wait for this first
            store.set('fault', fault)
        else:
            store.wait(['clock'], wait)
            store.set(f'clock/{rank}', repr(time.time()))
            store.wait(['fault'], wait)
            fault = store.get('fault').decode()
    except torch.distributed.DistError as error:
        waited = isinstance(error, torch.distributed.DistStoreError)
        what = f'has waited {seconds:g} s for the others' if waited else 'has lost the process that keeps their store'
        fault = f'process {rank} on {platform.node()} {what}'
        if rank == 0:
            raise RuntimeError(fault) from None
        raise SystemExit(fault) from None
    finally:
        if isinstance(sign, Path):
            sign.unlink(missing_ok=True)
    if fault and rank == 0:
        raise RuntimeError(fault)
    if fault:
        _end_quietly()
    return store


def _gather(store: Store, rank: int, size: int, wait: timedelta) -> Store:
    """A part of ``store`` that no earlier processes have used, once all have come.

    The first process names the part. It gives the name to each other one under a word that is new, too: torchelastic's
    numbers of restarts cannot be names, since each machine counts its own, and they differ after the loss of a machine.

    Raises:
        RuntimeError: in the first process, the others have not come.
        torch.distributed.DistError: in the others, the first one has not come.
    """
    word, end = uuid4().hex, time.monotonic() + wait.total_seconds()
    if rank:
        store.set(f'word/{rank}', word)
        store.wait([f'name/{word}'], wait)
        name = store.get(f'name/{word}').decode()
        store.set(f'{name}/come/{rank}', '')
        return PrefixStore(name, store)
    while late := [r for r in range(1, size) if not store.check([f'{word}/come/{r}'])]:
        if time.monotonic() > end:
            raise RuntimeError(
                f'{len(late)} of {size} processes have not come within {wait.total_seconds():g} s: '
                f'{", ".join(map(str, late))}. Have they started, and do their machines reach '
                f'{os.environ["MASTER_ADDR"]}:{os.environ["MASTER_PORT"]}?'
            )
        for r in late:
            if store.check([f'word/{r}']):
                store.set(f'name/{store.get(f"word/{r}").decode()}', word)
        time.sleep(0.02)
    return PrefixStore(word, store)


def _end_quietly() -> NoReturn:
    """End this process once another one has raised its error, which its launcher may end all for."""
    time.sleep(GRACE)
    raise SystemExit(1)


def _leave_sign(work_dir: str | None) -> Path | str | None:
    """A file of a new name in the work dir; what is wrong with the folder, in words; None where there is no folder."""
    if work_dir is None:
        return None
    path = Path(work_dir, f'.meeting.{uuid4().hex}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(PROBE))
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return (
            f'{platform.node()} cannot write to the work dir {work_dir} ({error.strerror}): give a folder on a file '
            'system that all machines may write to and that has space, by --work-dir'
        )
    return path


def _is_seen(path: Path) -> bool:
    end = time.monotonic() + SEEN
    while not path.is_file():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)  # a network file system may show it later
    return True


def _compare(store: Store, size: int, wait: timedelta) -> str:
    """In the first process: what prevents that all train together, in words."""
    said: list[dict[str, Any]] = []
    for rank in range(size):
        store.wait([f'said/{rank}'], wait)
        said.append(json.loads(store.get(f'said/{rank}')))
    hosts = [f'process {rank} on {each["host"]}' for rank, each in enumerate(said)]
    for host, each in zip(hosts, said):
        if not each['seen']:
            return (
                f'{host} does not see the work dir of {hosts[0]}, though it has the same path there: give a folder on '
                'a file system that all machines share, by --work-dir'
            )
        if not each['writes']:
            return f'{host} cannot write to the work dir, which {hosts[0]} can: mount it writable on all machines'
        if (each['gpu'] is None) != (said[0]['gpu'] is None):
            with_gpu, without = (hosts[0], host) if each['gpu'] is None else (host, hosts[0])
            return f'{with_gpu} has a GPU and {without} finds none: train on GPUs only, or set CUDA_VISIBLE_DEVICES='
        other = [
            f'{name} {each["equal"].get(name)}, not {value}'
            for name, value in said[0]['equal'].items()
            if each['equal'].get(name) != value
        ]
        other += [f'{name} {each["equal"][name]}, not none' for name in each['equal'].keys() - said[0]['equal'].keys()]
        if other:
            return f'{host} differs from {hosts[0]}: {"; ".join(other[:5])}. All processes need the same'
    return _shared_gpus(said) or _clocks(store, hosts, wait)


def _shared_gpus(said: Sequence[Mapping]) -> str:
    for host in dict.fromkeys(each['host'] for each in said if each['gpu'] is not None):
        gpus = [each['gpu'] for each in said if each['host'] == host]
        number = len(set(filter(None, gpus)))
        if number < len(gpus):
            return f'{len(gpus)} processes on {host}, which has {number} GPUs for them: start one process for each GPU'
    return ''


def _clocks(store: Store, hosts: Sequence[str], wait: timedelta) -> str:
    """Which clock differs from that of the first process by more than the time it took to ask."""
    asked = time.time()
    store.set('clock', '')
    for rank in range(1, len(hosts)):
        store.wait([f'clock/{rank}'], wait)
        there, here = float(store.get(f'clock/{rank}')), time.time()
        ahead = there - here if there > here else min(there - asked, 0.0)
        if abs(ahead) > CLOCKS:
            order = 'later' if ahead > 0 else 'earlier'
            return (
                f'the clock of {hosts[rank]} shows a time {abs(ahead):.0f} s {order} than that of {hosts[0]}: file '
                'times and logs of the run would be wrong. Synchronise the clocks (NTP)'
            )
    return ''
