"""Machines that are network namespaces of this one: each has an address and a name of its own, and a link to a switch.

All are in one switch, which has no link to the outside.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
from runs import REPO, environment

__all__ = ['Hosts', 'Process', 'wait_for', 'why_not']


def why_not() -> str:
    """Why there can be no such machines here; empty if there can."""
    if shutil.which('ip') is None:
        return 'there is no command ip (iproute2), which makes network namespaces'
    name = f'vptx{os.getpid()}'
    made = subprocess.run(['ip', 'netns', 'add', name], capture_output=True, text=True)
    if made.returncode:
        return f'this user may make no network namespaces: {made.stderr.strip()}'
    subprocess.run(['ip', 'netns', 'delete', name], check=True)
    return ''


class Process:
    """A command on a machine; its output goes to a file."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log, self._file = log, log.open('w')
        self._popen = subprocess.Popen(
            command, env=environment, stdout=self._file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )

    def said(self) -> str:
        return self.log.read_text(errors='replace')

    def wait(self, seconds: float) -> int:
        """Its exit status.

        Raises:
            AssertionError: it is still there after so many seconds.
        """
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'still running after {seconds} s:\n{self.said()[-6000:]}') from None

    def ended(self) -> bool:
        return self._popen.poll() is not None

    def kill(self) -> None:
        """It and all that it started, with nothing said."""
        found = [psutil.Process(self._popen.pid)] if self._popen.poll() is None else []
        found += [child for each in found for child in each.children(recursive=True)]
        for each in found:
            try:
                each.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        self._popen.wait()
        self._file.close()


class Hosts:
    """``number`` machines; ``with`` it, they are there.

    Attributes:
        addresses: of each.
    """

    def __init__(self, number: int, folder: Path) -> None:
        self.folder, self.running = folder, list[Process]()
        tag = f'vx{os.getpid() % 100000}'
        self.switch, self.names = f'{tag}s', [f'{tag}h{i}' for i in range(number)]
        self.addresses = [f'10.77.0.{i + 1}' for i in range(number)]

    def __enter__(self) -> 'Hosts':
        for name in (self.switch, *self.names):
            _ip('netns', 'add', name)
            _ip('-n', name, 'link', 'set', 'lo', 'up')
        _ip('-n', self.switch, 'link', 'add', 'br0', 'type', 'bridge')
        _ip('-n', self.switch, 'link', 'set', 'br0', 'up')
        for i, (name, address) in enumerate(zip(self.names, self.addresses)):
            _ip('link', 'add', 'eth0', 'netns', name, 'type', 'veth', 'peer', 'name', f'port{i}', 'netns', self.switch)
            _ip('-n', self.switch, 'link', 'set', f'port{i}', 'master', 'br0')
            _ip('-n', self.switch, 'link', 'set', f'port{i}', 'up')
            _ip('-n', name, 'addr', 'add', f'{address}/24', 'dev', 'eth0')
            _ip('-n', name, 'link', 'set', 'eth0', 'up')
        return self

    def __exit__(self, *_) -> None:
        for process in self.running:
            process.kill()
        for name in (*self.names, self.switch):
            subprocess.run(['ip', 'netns', 'delete', name], check=True)

    def start(self, host: int, *command: str, first: str = '', log: str = 'host', **variables: str) -> Process:
        """Start a command on a machine.

        Args:
            host: which.
            command: and its arguments.
            first: what a shell on the machine does before, such as mounting a folder that only this machine sees.
            log: first part of the name of the file for its output.
            variables: of its environment.
        """
        inside = f'hostname host{host}; {first or ":"}; exec "$@"'
        own = dict(GLOO_SOCKET_IFNAME='eth0', LOCAL_ADDR=self.addresses[host], PYTHON=sys.executable)
        process = Process(
            [
                'ip',
                'netns',
                'exec',
                self.names[host],
                'unshare',
                '--uts',
                '--mount',
                'sh',
                '-c',
                inside,
                'sh',
                *command,
            ],
            self.folder / f'{log}_{host}.log',
            {**environment(), **own, **variables},
        )
        self.running.append(process)
        return process

    def train(self, host: int, config: Path, *arguments: str, first: str = '', log='host', nodes=None, **variables):
        """``tools/dist_train.sh`` with one process on a machine, as one of ``nodes`` (all of them)."""
        meeting = dict(NNODES=nodes or str(len(self.names)), NODE_RANK=str(host), MASTER_ADDR=self.addresses[0])
        command = [str(REPO / 'tools/dist_train.sh'), str(config), '1', *arguments]
        return self.start(host, *command, first=first, log=log, **meeting, **variables)

    def cut(self, host: int) -> None:
        """Take the link of a machine away: what is sent to it or by it is lost."""
        _ip('-n', self.switch, 'link', 'set', f'port{host}', 'down')


def wait_for(path: Path, seconds: float, *processes: Process) -> None:
    """Until a file is there, while processes run.

    Raises:
        AssertionError: it is not there after so many seconds, or a process has ended.
    """
    end = time.monotonic() + seconds
    while not path.exists():
        said = '\n'.join(process.said()[-5000:] for process in processes)
        assert time.monotonic() < end, f'no {path} after {seconds} s\n{said}'
        assert not any(process.ended() for process in processes), said
        time.sleep(0.2)


def _ip(*arguments: str) -> None:
    done = subprocess.run(['ip', *arguments], capture_output=True, text=True)
    assert done.returncode == 0, f'ip {" ".join(arguments)}: {done.stderr}'
