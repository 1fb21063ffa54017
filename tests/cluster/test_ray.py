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
from threading import Thread

import psutil
import pytest
from dummies import DummyStudy
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
        self.environment = environment() | dict(PYTHONPATH=path, RAY_USAGE_STATS_ENABLED='0', VPTX_TEST=self.folder)
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
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=200)
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
def cluster(monkeypatch):
    pytest.importorskip('ray', reason='there is no Ray: pip install vptx[sweep]')
    from vptx.studies import sweep as module

    made = []

    def make(cpus: int) -> Cluster:
        made.append(Cluster(cpus))
        monkeypatch.setenv('PYTHONPATH', made[-1].environment['PYTHONPATH'])
        module.connect(made[-1].address)
        assert module.ray.cluster_resources()['CPU'] == 2 * cpus
        return made[-1]

    yield make
    module.ray.shutdown()
    for each in made:
        each.end()


def test_a_node_that_is_killed_takes_no_finished_trial_with_it(tmp_path, cluster):
    """Its unfinished ones are run by the other node."""
    from vptx.studies.sweep import sweep

    running = cluster(1)
    study, said = DummyStudy(tmp_path, 24, seconds=1.0), []
    finished: dict[str, int] = {}

    def kill() -> None:
        while len(list(tmp_path.glob('run*/result.json'))) < 6:
            time.sleep(0.1)
        running.kill_second()
        finished.update({str(p): p.stat().st_mtime_ns for p in tmp_path.glob('run*/result.json')})

    killer = Thread(target=kill)
    killer.start()
    _, failed = sweep([study], tmp_path, say=said.append)
    killer.join()
    assert not failed, said
    assert 6 <= len(finished) < 24
    assert not study.todo()
    assert all(Path(p).stat().st_mtime_ns == when for p, when in finished.items())  # none was run again
    done = {path.name: path.read_text().count('done') for path in (tmp_path / 'done').iterdir()}
    assert len(done) == 24 and all(done[Path(p).parent.name] == 1 for p in finished)


def test_the_overhead_of_a_trial(tmp_path, cluster):
    """200 that do nothing: less than half a second each of the processors, of the driver's and all of Ray's."""
    from vptx.studies.sweep import sweep

    running = cluster(1)
    sweep([DummyStudy(tmp_path / 'first', 4, seconds=0)], tmp_path / 'first')  # the workers have imported all
    own = psutil.Process()

    def seconds() -> float:
        times = [each.cpu_times() for each in (own, *running.processes())]
        return sum(each.user + each.system for each in times)

    study = DummyStudy(tmp_path / 'many', 200, seconds=0)
    before, began = seconds(), time.monotonic()
    _, failed = sweep([study], tmp_path / 'many')
    spent, passed = (seconds() - before) / 200, (time.monotonic() - began) / 200
    print(json.dumps(dict(processor_seconds_per_trial=round(spent, 3), wall_seconds_per_trial=round(passed, 3))))
    assert not failed and not study.todo()
    assert spent <= 0.5
