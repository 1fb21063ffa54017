"""A Slurm of two nodes on this machine: all of it in a folder, on ports of its own, ended with the test."""

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from runs import REPO, environment

__all__ = ['Slurm', 'why_not']

PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'srun', 'scontrol', 'squeue', 'scancel')
CONFIG = """\
ClusterName=vptx
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool_%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd_%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd_%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SlurmdTimeout=10
KillWait=5
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=2
GresTypes=gpu
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=1000
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=1000 Gres=gpu:2
PartitionName=cpu Nodes=node[1-2] Default=YES MaxTime=60 State=UP
PartitionName=gpu Nodes=node2 MaxTime=60 State=UP
"""
#: Slurm takes any file for a GPU, and counts these as two.
GPUS = ''.join(f'NodeName=node2 Name=gpu File=/dev/{name}\n' for name in ('null', 'zero'))


def why_not() -> str:
    """Why there can be no Slurm here; empty if there can."""
    path = f'{os.environ.get("PATH", "")}:/usr/sbin'
    lacking = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if lacking:
        return f'Slurm is not installed: {", ".join(lacking)} missing; make test-cluster installs it'
    return '' if os.geteuid() == 0 else 'munged and slurmd of the test run as root'


class Slurm:
    """The controller and its nodes; ``with`` it, they run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        sockets = [socket.socket() for _ in range(3)]
        for each in sockets:
            each.bind(('127.0.0.1', 0))
        ports = [each.getsockname()[1] for each in sockets]
        for each in sockets:
            each.close()
        (folder / 'slurm.conf').write_text(CONFIG.format(folder=folder, ports=ports, host=platform.node()))
        (folder / 'gres.conf').write_text(GPUS)
        # The nodes' names are in no table of hosts.
        own = dict(SLURM_CONF=str(folder / 'slurm.conf'), MASTER_ADDR='127.0.0.1', PYTHON=sys.executable)
        self.environment = {**environment(), **own, 'PATH': f'{os.environ["PATH"]}:/usr/sbin'}

    def __enter__(self) -> 'Slurm':
        (self.folder / 'state').mkdir()
        key = self.folder / 'munge.key'
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        files = [f'--{name}-file={self.folder}/munge.{name}' for name in ('key', 'log', 'pid', 'seed')]
        self._run('munged', '--force', f'--socket={self.folder}/munge.socket', *files)
        self._run('slurmctld', '-c')
        for node in ('node1', 'node2'):
            self.boot(node)
        self.wait(lambda: self._run('sinfo', '-h', '-t', 'idle', '-o', '%D') == '2', 60, 'idle nodes')
        return self

    def __exit__(self, *_) -> None:
        for node in ('node1', 'node2'):
            self.kill(node)
        for name in ('slurmctld', 'munge'):
            _end(self.folder / f'{name}.pid')

    def boot(self, node: str) -> None:
        self._run('slurmd', '-N', node)

    def kill(self, node: str) -> None:
        """A node's daemon and all that runs on it, with nothing said."""
        steps = [each for each in psutil.process_iter(['cmdline']) if _is_step(each, self.folder, node)]
        for each in [child for step in steps for child in step.children(recursive=True)] + steps:
            _kill(each)
        _end(self.folder / f'slurmd_{node}.pid')

    def start(self, *command: str, cwd: Path, **variables: str) -> subprocess.Popen:
        """A script of ``tools/``; what it says goes to ``log`` in ``cwd``."""
        with (cwd / 'log').open('a') as log:
            return subprocess.Popen(
                [str(REPO / 'tools' / command[0]), *command[1:]],
                env={**self.environment, **variables},
                cwd=cwd,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def run(self, *command: str, cwd: Path, seconds: float = 300, **variables: str) -> tuple[int, str]:
        """Exit status and output of ``start``."""
        status = self.start(*command, cwd=cwd, **variables).wait(seconds)
        return status, (cwd / 'log').read_text()

    def job(self, number: str) -> dict[str, str]:
        """What Slurm says of a job."""
        text = self._run('scontrol', 'show', 'job', number)
        return dict(part.split('=', 1) for part in text.split() if '=' in part)

    def cancel(self, number: str) -> None:
        self._run('scancel', number)

    def wait(self, true: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f'no {what} after {seconds} s\n{self._run("squeue")}\n{self._logs()}'
            time.sleep(0.5)

    def _logs(self) -> str:
        return '\n'.join(path.read_text(errors='replace')[-2000:] for path in self.folder.glob('*.log'))

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f'{command}: {done.stdout}{done.stderr}\n{self._logs()}'
        return done.stdout.strip()


def _is_step(process: psutil.Process, folder: Path, node: str) -> bool:
    """Whether a process is the ``slurmstepd`` of a job on a node of this Slurm."""
    try:
        if 'slurmstepd' not in ' '.join(process.info['cmdline'] or ()) and process.name() != 'slurmstepd':
            return False
        variables = process.environ()
        children = [child.environ() for child in process.children()]
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return False
    mine = any(each.get('SLURM_CONF') == str(folder / 'slurm.conf') for each in (variables, *children))
    return mine and any(each.get('SLURMD_NODENAME') == node for each in (variables, *children))


def _end(pid_file: Path) -> None:
    if pid_file.is_file() and pid_file.read_text().strip():
        try:
            found = psutil.Process(int(pid_file.read_text()))
        except psutil.NoSuchProcess:
            return
        _kill(found)
        found.wait(10)
        pid_file.unlink(missing_ok=True)


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
