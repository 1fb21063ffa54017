"""Sweeps on a Ray cluster of two nodes: one is killed, and the cost of a trial. ``make test-cluster`` runs them."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from runs import environment

pytestmark = pytest.mark.slow

HERE = str(Path(__file__).parent)


class Cluster:
    """``ray start`` twice: a head, and another node with a port of its own."""

    def __init__(self, cpus: int) -> None:
        # Short, as names of sockets are limited.
        self.folder = tempfile.mkdtemp(prefix='vxray')
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            self.address = f'127.0.0.1:{free.getsockname()[1]}'
        path = os.pathsep.join([HERE, environment()['PYTHONPATH']])
        self.environment = environment() | dict(PYTHONPATH=path, VPTX_TEST=self.folder)
        self.environment |= dict(RAY_USAGE_STATS_ENABLED='0', RAY_AUTH_MODE='token', RAY_AUTH_TOKEN=uuid4().hex * 2)
        # On a busy machine its processes take long to start.
        self.environment |= dict(RAY_raylet_start_wait_time_s='300', RAY_agent_register_timeout_ms='300000')
        common = [f'--num-cpus={cpus}', '--disable-usage-stats', f'--object-store-memory={100 * 2**20}']
        head = ['--head', f'--port={self.address.split(":")[1]}', '--include-dashboard=false']
        self._start(*head, f'--temp-dir={self.folder}', *common)
        before = set(self._raylets())
        self._start(f'--address={self.address}', *common)
        (self.second,) = set(self._raylets()) - before

    def _start(self, *options: str) -> None:
        command = [str(Path(sys.executable).parent / 'ray'), 'start', *options]
        if not Path(command[0]).exists():
            command[:1] = [sys.executable, '-m', 'ray.scripts.scripts']
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stdout + done.stderr

    def processes(self) -> list[psutil.Process]:
        """All of the cluster's."""
        found = []
        for each in psutil.process_iter():
            try:
                if each.environ().get('VPTX_TEST') == self.folder and each.pid != os.getpid():
                    found.append(each)
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue
        return found

    def _raylets(self) -> list[int]:
        return [each.pid for each in self.processes() if each.name() == 'raylet']

    def sweep(self, out: Path, number: int, seconds: float) -> subprocess.Popen:
        """A sweep of dummies, by a process of its own that is no part of the cluster."""
        command = [sys.executable, f'{HERE}/dummies.py', self.address, str(out), str(number), str(seconds)]
        own = {name: value for name, value in self.environment.items() if name != 'VPTX_TEST'}
        return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def kill_second(self) -> None:
        """The second node and its workers, with nothing said."""
        node = psutil.Process(self.second)
        for each in [*node.children(recursive=True), node]:
            try:
                each.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue

    def end(self) -> None:
        for each in self.processes():
            try:
                each.kill()
            except psutil.NoSuchProcess:
                continue


@pytest.fixture
def cluster():
    """Makes one, of nodes with so many processors."""
    pytest.importorskip('ray', reason='there is no Ray: pip install vptx[sweep]')
    made = []

    def make(cpus: int) -> Cluster:
        made.append(Cluster(cpus))
        return made[-1]

    yield make
    for each in made:
        each.end()


def test_a_node_that_is_killed_takes_no_finished_trial_with_it(tmp_path, cluster):
    """Its unfinished ones are run by the other node."""
    running = cluster(1)
    sweep = running.sweep(tmp_path, 24, seconds=1.0)
    end = time.monotonic() + 600
    while len(list(tmp_path.glob('run*/result.json'))) < 6:
        assert time.monotonic() < end and sweep.poll() is None, sweep.communicate(timeout=1)
        time.sleep(0.1)
    running.kill_second()
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob('run*/result.json')}
    said = result(sweep)
    assert not said['failed'] and not said['left'], said
    assert 6 <= len(finished) < 24
    assert all(path.stat().st_mtime_ns == when for path, when in finished.items())  # none was run again
    done = {path.name: path.read_text().count('done') for path in (tmp_path / 'done').iterdir()}
    assert len(done) == 24 and all(done[path.parent.name] == 1 for path in finished)
    assert any(line.endswith('is started again, as its process or its machine died') for line in said['said']), said


def test_the_overhead_of_a_trial(tmp_path, cluster):
    """200 that do nothing: less than half a second each of the processors, of the driver's and all of Ray's."""
    running = cluster(1)
    result(running.sweep(tmp_path / 'first', 4, seconds=0))  # what Ray's processes do before any trial

    def seconds() -> float:
        return sum(each.cpu_times().user + each.cpu_times().system for each in running.processes())

    before = seconds()
    said = result(running.sweep(tmp_path / 'many', 200, seconds=0))
    assert not said['failed'] and not said['left']
    spent = (seconds() - before + said['driver']) / 200
    print(f'{spent:.3f} s of processor time and {said["wall"] / 200:.3f} s of time for each trial')
    assert spent <= 0.5


def result(sweep: subprocess.Popen) -> dict:
    """What a sweep has said at its end."""
    output, errors = sweep.communicate(timeout=1200)
    assert sweep.returncode == 0, output + errors
    return json.loads(output.splitlines()[-1])
