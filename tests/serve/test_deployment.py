"""The server on Ray Serve: batches that mix tasks; load, changes and a killed replica."""

import base64
import json
import os
import random
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from types import SimpleNamespace

import pytest
import runs
import served
import torch
from ray import serve
from served import AUTHORIZED, TOKEN, picture, write_task

from vptx.serve.deployment import Replica, Settings, application
from vptx.serve.engine import Engine, Failure
from vptx.serve.pictures import Pictures

REQUESTS = int(os.environ.get('VPTX_TEST_REQUESTS', 10_000))


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ray')
    config = served.fixed(served.write_config(folder), folder)
    files = {name: write_task(config, folder / f'{name}.safetensors', i, i) for i, name in enumerate('abcdef')}
    return folder, config, files


def settings(place, name: str, **options) -> Settings:
    folder, config, _ = place
    return Settings(config.pretty_text, str(folder / name), **options)


def test_a_batch_is_by_count_and_wait_whatever_the_tasks(place, monkeypatch):
    """In this process, without a cluster."""
    *_, files = place
    sizes, predict = [], Engine.predict

    def count(engine, items, top):
        sizes.append([name for _, name in items])
        return predict(engine, items, top)

    monkeypatch.setattr(Engine, 'predict', count)
    # All that the queue of a batch asks a cluster for.
    limits = SimpleNamespace(max_ongoing_requests=1024)
    monkeypatch.setattr(serve, 'get_replica_context', lambda: SimpleNamespace(_deployment_config=limits))
    chosen = settings(place, 'local', batch=4, wait=1.0)
    handle = serve.run(Replica.bind(chosen), _local_testing_mode=True)
    for name in 'ab':
        assert handle.add.remote(name, files[name].read_bytes()).result()['name'] == name
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    asked = [handle.predict.remote([image], [(0, name) for name in names]) for names in ('ab', 'xab')]
    first, second = (found.result() for found in asked)
    assert sizes == [['a', 'b', 'x', 'a'], ['b']]
    assert [getattr(answer, 'task', None) for answer in (*first, *second)] == ['a', 'b', None, 'a', 'b']
    assert isinstance(second[0], Failure) and second[0].status == 404


def test_no_replicas(place):
    with pytest.raises(ValueError, match='replicas must be'):
        application(settings(place, 'none', replicas=0))


def test_the_command_says_what_is_wrong(tmp_path):
    done = runs.tool('serve', 'mini/no_such_config', '--prompts', tmp_path, check=False)
    assert done.returncode == 1 and 'no config of this name' in done.stderr and 'Traceback' not in done.stderr


class Server:
    """The command in a process of its own, with two replicas."""

    def __init__(self, place, port: int) -> None:
        self.folder, config, _ = place
        self.prompts = self.folder / 'served'
        config.dump(str(self.folder / 'config.py'))
        patient = dict(
            RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S='200',
            RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S='100',
            RAY_SERVE_PROXY_HEALTH_CHECK_UNHEALTHY_THRESHOLD='20',
        )
        tool = str(runs.REPO / 'tools' / 'serve.py')
        options = [
            '--prompts',
            str(self.prompts),
            '--port',
            str(port),
            '--replicas',
            '2',
            '--slots',
            '3',
            '--wait',
            '5',
        ]
        self.log = (self.folder / 'serve.log').open('w')
        self.process = subprocess.Popen(
            [sys.executable, tool, str(self.folder / 'config.py'), *options],
            env={**runs.environment(), **patient, 'VPTX_TOKEN': TOKEN},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self.address = f'http://127.0.0.1:{port}'
        for _ in range(600):
            assert self.process.poll() is None, (self.folder / 'serve.log').read_text()[-3000:]
            if self.ask('GET', '/health')[0] == 200:
                break
            sleep(1)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> tuple[int, dict]:
        request = urllib.request.Request(self.address + path, body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return reply.status, json.loads(reply.read() or '{}')
        except urllib.error.HTTPError as error:
            return error.code, {}
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return 0, {}

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


@pytest.mark.slow
def test_load_with_changes_and_a_killed_replica(place):
    """No wrong answer and none lost, while tasks are added, replaced and removed and a replica is killed."""
    folder, config, files = place
    versions = list(files.values())
    images = [picture(seed) for seed in range(4)]
    wanted: dict[tuple[str, int], list[float]] = {}
    engine = Engine(config, folder / 'wanted')
    read = Pictures(config, engine.size)
    for path in versions:  # what each version makes of each image, alone
        facts = engine.add('a', path.read_bytes())
        for index, image in enumerate(images):
            (answer,) = engine.predict([(read(image), 'a')], 10)
            wanted[facts['version'], index] = dict(zip(answer.classes, answer.scores))
    server = Server(place, 8177)
    try:
        names = [f'task{i}' for i in range(6)]
        for name, path in zip(names[:4], versions, strict=False):
            assert server.ask('PUT', f'/tasks/{name}', path.read_bytes(), AUTHORIZED)[0] == 201
        bodies = [base64.b64encode(image).decode() for image in images]
        found, wrong, done = Counter(), [], threading.Event()

        def ask(number: int) -> None:
            draw = random.Random(number)
            index, name = draw.randrange(len(images)), draw.choice(names)
            body = json.dumps(dict(image=bodies[index], task=name, top=10)).encode()
            status, reply = server.ask('POST', '/predict', body, {'content-type': 'application/json'})
            found[status] += 1
            if status == 200:
                (answer,) = reply['answers']
                scores = wanted[answer['version'], index]
                if any(abs(scores[c['name']] - c['score']) > 1e-4 for c in answer['classes']):
                    wrong.append((name, index, answer))

        def change() -> None:
            draw = random.Random(0)
            while not done.is_set():
                name, path = draw.choice(names), draw.choice(versions)
                if draw.random() < 0.3:
                    assert server.ask('DELETE', f'/tasks/{name}', None, AUTHORIZED)[0] in (204, 404)
                else:
                    assert server.ask('PUT', f'/tasks/{name}', path.read_bytes(), AUTHORIZED)[0] in (200, 201)
                sleep(0.02)

        def kill() -> None:
            sleep(2)
            pids = subprocess.run(['pgrep', '-f', 'ray::ServeReplica:vptx:Replica'], capture_output=True, text=True)
            os.kill(int(pids.stdout.split()[0]), 9)

        changing, killing = threading.Thread(target=change), threading.Thread(target=kill)
        changing.start()
        killing.start()
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(REQUESTS)))
        done.set()
        changing.join()
        killing.join()
        assert not wrong, wrong[:3]
        assert found[200] > REQUESTS / 3 and found[200] + found[404] == REQUESTS, found
        assert server.ask('PUT', '/tasks/x', b'', {'authorization': 'Bearer wrong'})[0] == 401
        assert server.ask('PUT', '/tasks/x', b'bad', AUTHORIZED)[0] == 422
        assert server.ask('POST', '/predict', bytes(40 * 2**20), {'content-type': 'application/json'})[0] == 413
        assert server.ask('GET', '/health')[0] == 200
    finally:
        server.stop()
