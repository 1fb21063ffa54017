"""A Ray cluster of two machines, one of which is lost; and the cost of a trial. ``make test-cluster`` runs them."""

import base64
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import served
from hosts import Hosts, Process, why_not
from runs import REPO, environment

from vptx.serve.engine import Engine
from vptx.serve.pictures import Pictures

pytestmark = pytest.mark.slow

HERE = str(Path(__file__).parent)
PORT = 6379
#: Bytes, of a node's object store.
STORE = 100 * 2**20
#: Of a node's agents, each a free port of its machine.
PORTS = ('dashboard-agent-grpc', 'dashboard-agent-listen', 'metrics-export', 'runtime-env-agent')


class Cluster:
    """``ray start`` on two machines: a head, and another node. Each sees a temporary folder of its own."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts, self.address = hosts, f'{hosts.addresses[0]}:{PORT}'
        # Short, as names of sockets are limited.
        self.folder = tempfile.mkdtemp(prefix='vxray')
        self.variables = dict(
            PYTHONPATH=os.pathsep.join([HERE, environment()['PYTHONPATH']]),
            RAY_USAGE_STATS_ENABLED='0',
            RAY_AUTH_MODE='token',
            RAY_AUTH_TOKEN=uuid4().hex * 2,
            # On a busy machine its processes take long to start, and to answer.
            RAY_agent_register_timeout_ms='300000',
            RAY_worker_niceness='0',
            RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S='200',
            RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S='100',
        )

    def boot(self) -> None:
        self._boot(0, '--head', f'--port={PORT}', '--include-dashboard=false', f'--temp-dir={self.folder}')
        self._boot(1, f'--address={self.address}')

    def _boot(self, host: int, *options: str) -> None:
        common = [f'--node-ip-address={self.hosts.addresses[host]}', '--num-cpus=1', '--disable-usage-stats']
        common += [f'--object-store-memory={STORE}']
        # For those that are not given, a node waits 15 seconds, which is too short on a busy machine.
        common += [f'--{name}-port={PORT + 1 + number}' for number, name in enumerate(PORTS)]
        command = ['-m', 'ray.scripts.scripts', 'start', *options, *common]
        for _ in range(4):  # 'ray start' gives a node half a minute, which is too short on a busy machine
            started = self.start(host, *command, log='ray', VPTX_TEST=self.folder, VPTX_HOST=str(host))
            if started.wait(400) == 0:
                return
            assert 'timed out during startup' in started.said(), started.said()
            self.kill(host)
        raise AssertionError(started.said())

    def start(self, host: int, *arguments: str, log: str, **variables: str) -> Process:
        """Python on a machine, which has a route, as Ray asks for the address of this machine towards others."""
        own = f'mkdir -p {self.folder}; ' + (f'mount -t tmpfs none {self.folder}; ' if host else '')
        first = f'{own} ip route replace default dev eth0'
        command = [sys.executable, *arguments]
        return self.hosts.start(host, *command, first=first, log=log, **self.variables, **variables)

    def processes(self, host: int | None = None) -> list[psutil.Process]:
        """Ray's, of one machine or of all."""
        found = []
        for each in psutil.process_iter():
            try:
                variables = each.environ()
            except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                continue
            if variables.get('VPTX_TEST') == self.folder and host in (None, int(variables['VPTX_HOST'])):
                found.append(each)
        return found

    def sweep(self, out: Path, number: int, seconds: float, size: int = 0) -> Process:
        """A sweep of dummies, by a process of its own that is no part of the cluster."""
        arguments = [self.address, str(out), str(number), str(seconds), str(size)]
        return self.start(0, f'{HERE}/dummies.py', *arguments, log=out.name)

    def lose(self, host: int) -> None:
        """As a machine without power: nothing is said to the other one."""
        self.hosts.cut(host)
        self.kill(host)

    def kill(self, host: int | None = None) -> None:
        for each in self.processes(host):
            try:
                each.kill()
            except psutil.NoSuchProcess:
                continue


@pytest.fixture
def cluster(tmp_path):
    pytest.importorskip('ray', reason='there is no Ray: pip install vptx[sweep]')
    if reason := why_not():
        pytest.skip(reason)
    with Hosts(2, tmp_path) as hosts:
        made = Cluster(hosts)
        try:
            made.boot()
            yield made
        finally:
            made.kill()
            shutil.rmtree(made.folder)


def test_a_machine_that_is_lost_takes_no_finished_trial_with_it(tmp_path, cluster):
    """Its unfinished ones are run by the other node."""
    out = tmp_path / 'out'
    sweep, end = cluster.sweep(out, 24, seconds=1.0), time.monotonic() + 600
    while len(list(out.glob('run*/result.json'))) < 6:
        assert time.monotonic() < end and not sweep.ended(), sweep.said()
        time.sleep(0.1)
    cluster.lose(1)
    finished = {path: path.stat().st_mtime_ns for path in out.glob('run*/result.json')}
    said = result(sweep)
    assert not said['failed'] and not said['left'], said
    assert 6 <= len(finished) < 24
    assert all(path.stat().st_mtime_ns == when for path, when in finished.items())  # none was run again
    done = {path.name: path.read_text().count('done') for path in (out / 'done').iterdir()}
    assert len(done) == 24 and all(done[path.parent.name] == 1 for path in finished)
    assert any(line.endswith('is started again, as its process or its machine died') for line in said['said']), said


def test_a_machine_that_is_lost_takes_no_answer_with_it(tmp_path, cluster):
    """A replica on each. What the lost one was asked is answered by the other one."""
    config = served.fixed(served.write_config(tmp_path), tmp_path)
    config.dump(str(tmp_path / 'config.py'))
    prompts = tmp_path / 'prompts'
    engine = Engine(config, prompts)
    pictures, asked = Pictures(config, engine.size), []
    for seed, name in enumerate('abc'):
        engine.add(name, served.write_task(config, tmp_path / f'{name}.safetensors', seed, seed).read_bytes())
        image = served.picture(seed)
        (answer,) = engine.predict([(pictures(image), name)], 10)
        body = dict(image=base64.b64encode(image).decode(), task=name, top=10)
        asked.append([body, dict(zip(answer.classes, answer.scores))])
    (tmp_path / 'asked.json').write_text(json.dumps(asked))
    host = cluster.hosts.addresses[0]
    options = ['--prompts', str(prompts), '--host', host, '--replicas', '2', '--address', cluster.address]
    server = cluster.start(0, str(REPO / 'tools/serve.py'), str(tmp_path / 'config.py'), *options, log='serve')
    end = time.monotonic() + 600
    while f'at http://{host}:8000' not in server.said():
        assert time.monotonic() < end and not server.ended(), server.said()
        time.sleep(0.5)
    kind = 'ray::ServeReplica:vptx:Replica'
    assert [sum(kind in ' '.join(each.cmdline()) for each in cluster.processes(i)) for i in (0, 1)] == [1, 1]
    arguments = [f'{HERE}/asking.py', f'http://{host}:8000', str(tmp_path / 'asked.json'), '600']
    asking = cluster.start(0, *arguments, log='asking')
    while asking.said().count('asked') < 100:
        assert time.monotonic() < end and not asking.ended(), asking.said()
        time.sleep(0.1)
    cluster.lose(1)
    assert asking.said().count('asked') < 600
    assert Counter(result(asking)) == Counter(right=600), server.said()
    server.kill()


def test_the_overhead_of_a_trial(tmp_path, cluster):
    """200 that do nothing: less than half a second each of the processors, of the driver's and all of Ray's."""
    result(cluster.sweep(tmp_path / 'first', 4, seconds=0))  # what Ray's processes do before any trial

    def seconds() -> dict[psutil.Process, float]:
        found = {}
        for each in cluster.processes():
            with suppress(psutil.NoSuchProcess):
                found[each] = each.cpu_times().user + each.cpu_times().system
        return found

    before = seconds()
    sweep, latest = cluster.sweep(tmp_path / 'many', 200, seconds=0), before
    while not sweep.ended():
        latest = latest | seconds()  # those that end take theirs with them
        time.sleep(0.3)
    said = result(sweep)
    assert not said['failed'] and not said['left']
    spent = (sum(latest.values()) - sum(before.values()) + said['driver']) / 200
    print(f'{spent:.3f} s of processor time and {said["wall"] / 200:.3f} s of time for each trial')
    assert spent <= 0.5


def test_configs_may_be_larger_than_the_object_store(tmp_path, cluster):
    """Ray keeps on disk what does not fit, and no trial is lost."""
    said = result(cluster.sweep(tmp_path / 'out', 60, seconds=0, size=STORE // 40))
    assert not said['failed'] and not said['left'], said
    assert len(said['said']) == 60, said  # each was run once, and nothing else is said


def result(process: Process) -> dict:
    """What it has said at its end."""
    assert process.wait(1200) == 0, process.said()
    return json.loads(process.said().splitlines()[-1])
