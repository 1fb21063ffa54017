"""The server on Ray Serve: batches that mix tasks; load, changes and a killed replica."""

import asyncio
import base64
import os
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from time import sleep
from types import SimpleNamespace

import psutil
import pytest
import runs
import served
import torch
from ray import serve
from ray.exceptions import ActorDiedError, ActorUnavailableError
from ray.serve.exceptions import BackPressureError
from served import AUTHORIZED, TOKEN, picture, write_task

from vptx.serve import deployment
from vptx.serve.app import Full
from vptx.serve.deployment import Replica, Settings, _Replicas, application
from vptx.serve.engine import Engine, Failure
from vptx.serve.load import Reply, ask, load
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


class Handle:
    """Of replicas: what is asked of them ends as ``ends`` says, one after the other."""

    def __init__(self, *ends) -> None:
        self.ends = list(ends)
        self.facts = SimpleNamespace(remote=self.answer)

    async def answer(self, **_):
        end = self.ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end

    def broadcast(self, method):
        assert method == 'facts'
        return SimpleNamespace(results_async=self.answer)


def test_what_a_dead_replica_was_asked_is_asked_of_another_one(monkeypatch):
    now, pauses = [0.0], []

    async def wait(seconds):
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(deployment, 'time', SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(deployment.asyncio, 'sleep', wait)
    died = [ActorDiedError(), ActorUnavailableError('away', None)]
    handle = Handle(*died * 3, dict(tasks=1))
    assert asyncio.run(_Replicas(handle, Path()).facts()) == dict(tasks=1)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    with pytest.raises(ActorDiedError):
        asyncio.run(_Replicas(Handle(*[ActorDiedError()] * 100), Path()).facts())
    assert 60 < sum(pauses[6:]) < 64
    with pytest.raises(Full):
        asyncio.run(_Replicas(Handle(BackPressureError(1, 1)), Path()).facts())


def test_figures_are_of_the_replicas_that_answer():
    answers = [dict(replica='a', tasks=1), ActorDiedError(), dict(replica='b', tasks=2)]
    found = asyncio.run(_Replicas(Handle(answers), Path()).replicas())
    assert found == dict(a=answers[0], b=answers[2])
    assert asyncio.run(_Replicas(Handle(TimeoutError()), Path()).replicas()) == {}


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
            if self.ask('GET', '/health').status == 200:
                break
            sleep(1)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None) -> Reply:
        return ask(self.address, method, path, body, headers)

    def replicas(self) -> list[psutil.Process]:
        started = psutil.Process(self.process.pid).children(recursive=True)
        return [each for each in started if 'ray::ServeReplica:vptx:Replica' in ' '.join(each.cmdline())]

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


def check_metrics(server: Server, found: Counter) -> None:
    """Those of HTTP count all that was asked; those of a bank are there for both replicas, once each is up again."""
    for _ in range(300):
        text = server.ask('GET', '/metrics').content.decode()
        slots = re.findall(r'^vptx_bank_slots\{replica="(\w+)"\} 3.0$', text, re.MULTILINE)
        if len(slots) == 2:
            break
        sleep(1)
    assert len(set(slots)) == 2, text
    predicted = dict(
        re.findall(r'^vptx_requests_total\{front="\w+",route="/predict",status="(\d+)"\} (\S+)$', text, re.M)
    )
    assert {int(status): float(count) for status, count in predicted.items()} == found, text
    # One that was killed has taken its count with it.
    answered = re.findall(r'^vptx_bank_answers\{replica="(\w+)"\} (\S+)$', text, re.MULTILINE)
    assert {replica for replica, _ in answered} == set(slots) and sum(float(count) for _, count in answered) > 0


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
            assert server.ask('PUT', f'/tasks/{name}', path.read_bytes(), AUTHORIZED).status == 201
        bodies = [base64.b64encode(image).decode() for image in images]
        found, changes, killed, wrong, done = Counter(), Counter(), [], [], threading.Event()
        draw = random.Random(1)
        asked = [(draw.randrange(len(images)), draw.choice(names)) for _ in range(REQUESTS)]

        def change() -> None:
            draw = random.Random(0)
            while not done.is_set():
                name, path = draw.choice(names), draw.choice(versions)
                if draw.random() < 0.3:
                    changes[server.ask('DELETE', f'/tasks/{name}', None, AUTHORIZED).status] += 1
                else:
                    changes[server.ask('PUT', f'/tasks/{name}', path.read_bytes(), AUTHORIZED).status] += 1
                sleep(0.02)

        def kill() -> None:
            sleep(2)
            replica = server.replicas()[0]
            replica.kill()
            killed.append(replica)

        changing, killing = threading.Thread(target=change), threading.Thread(target=kill)
        changing.start()
        killing.start()
        requests = [dict(image=bodies[index], task=name, top=10) for index, name in asked]
        for (index, name), reply in zip(asked, load(server.address, requests, clients=16), strict=True):
            found[reply.status] += 1
            if reply.status == 200:
                (answer,) = reply.json['answers']
                scores = wanted[answer['version'], index]
                if any(abs(scores[c['name']] - c['score']) > 1e-4 for c in answer['classes']):
                    wrong.append((name, index, answer))
        done.set()
        changing.join()
        killing.join()
        assert not wrong, wrong[:3]
        assert killed and set(changes) == {200, 201, 204, 404}, changes  # replaced, added, removed, not there
        assert found[200] > REQUESTS / 3 and found[200] + found[404] == REQUESTS, found
        check_metrics(server, found)
        wrong_token = {'authorization': 'Bearer wrong'}
        assert server.ask('PUT', '/tasks/x', b'', wrong_token).status == 401
        assert server.ask('PUT', '/tasks/x', bytes(2**24), wrong_token).status == 401  # heard after all is sent
        assert server.ask('PUT', '/tasks/x', b'bad', AUTHORIZED).status == 422
        assert server.ask('POST', '/predict', bytes(40 * 2**20), {'content-type': 'application/json'}).status == 413
        assert server.ask('GET', '/health').status == 200
    finally:
        server.stop()
