"""The server without Ray: what it answers, and what it refuses."""

import asyncio
import base64
import struct
import zlib

import pytest
import served
import torch
from served import AUTHORIZED, form, picture, write_task

import vptx
from vptx.predict import predict
from vptx.serve.app import Limits

NAMES = ('bright', 'dark', 'striped')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A config and files of three tasks, with each alone."""
    folder = tmp_path_factory.mktemp('served')
    config = served.fixed(served.write_config(folder), folder)
    files = {
        'deep': write_task(config, folder / 'deep.safetensors', 1),
        'probe': write_task(config, folder / 'probe.safetensors', 2, tokens=0, classes=['a', 'b']),
        'newer': write_task(config, folder / 'newer.safetensors', 3, tokens=5, classes=[*NAMES, 'other']),
    }
    return config, files


@pytest.fixture
def server(place, tmp_path):
    """A client, the backend and the files; of the tasks deep and probe are there."""
    config, files = place
    client, backend = served.serve(config, tmp_path)
    for name in ('deep', 'probe'):
        backend.engine.bank.add(name, files[name])
    return client, backend, files


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_images_and_tasks_as_json_and_as_a_form(server, place):
    client, backend, _ = server
    reply = client.json('/predict', images=[text(picture(0)), text(picture(1))], tasks=['deep', 'probe'])
    assert reply.status == 200
    answers = reply.json['answers']
    assert [(a['image'], a['task']) for a in answers] == [(0, 'deep'), (0, 'probe'), (1, 'deep'), (1, 'probe')]
    assert [{c['name'] for c in a['classes']} for a in answers[:2]] == [set(NAMES), {'a', 'b'}]
    assert all(abs(sum(c['score'] for c in a['classes']) - 1) < 1e-4 for a in answers)
    body, headers = form([('image', picture(0)), ('image', picture(1)), ('task', 'deep'), ('task', 'probe')])
    assert client('POST', '/predict', body, headers).json == reply.json
    assert backend.batches == [4, 4]  # mixed by task
    each = client.json('/predict', images=['data:image/png;base64,' + text(picture(1))], tasks=[['probe']], top=1)
    (only,) = each.json['answers']
    assert only['task'] == 'probe' and len(only['classes']) == 1
    assert only['classes'][0]['score'] == pytest.approx(answers[3]['classes'][0]['score'], abs=3e-6)
    everything = client.json('/predict', image=text(picture(0)), task='*').json['answers']
    assert [a['task'] for a in everything] == ['deep', 'probe']


def test_an_answer_is_that_of_the_tool(server, place, tmp_path):
    """The same pixels, by the config's own pipeline, and the same scores."""
    client, _, files = server
    config, _ = place
    answer = client.json('/predict', image=text(picture(5)), task='deep').json['answers'][0]
    config = config.copy()
    model = vptx.init_model(config, files['deep'])
    path = tmp_path / 'image.png'
    path.write_bytes(picture(5))
    (found,) = predict(model, [path])
    assert answer['classes'][0] == dict(name=found.name, score=pytest.approx(found.score, abs=2e-6))


def test_tasks_are_added_replaced_and_removed(server):
    client, _, files = server
    before = client.json('/predict', image=text(picture()), task='deep').json['answers'][0]
    reply = client('PUT', '/tasks/other', files['newer'].read_bytes(), AUTHORIZED)
    assert reply.status == 201 and reply.json['classes'] == [*NAMES, 'other']
    assert client('PUT', '/tasks/deep', files['newer'].read_bytes(), AUTHORIZED).status == 200
    after = client.json('/predict', image=text(picture()), task='deep').json['answers'][0]
    assert after['version'] == reply.json['version'] != before['version']
    assert {task['name'] for task in client('GET', '/tasks').json['tasks']} == {'deep', 'other', 'probe'}
    assert client('DELETE', '/tasks/deep', headers=AUTHORIZED).status == 204
    assert client('DELETE', '/tasks/deep', headers=AUTHORIZED).status == 404
    reply = client.json('/predict', image=text(picture()), task='deep')
    assert reply.status == 404 and reply.json == dict(error="there is no task 'deep'")


@pytest.mark.parametrize('headers', [{}, {'authorization': 'Bearer wrong'}, {'authorization': 'Basic a token'}])
def test_a_bad_token(server, headers):
    client, backend, files = server
    assert client('PUT', '/tasks/other', files['newer'].read_bytes(), headers).status == 401
    assert client('DELETE', '/tasks/deep', headers=headers).status == 401
    assert backend.engine.bank.names == ('deep', 'probe')


def test_without_a_token_nothing_can_be_changed(place, tmp_path):
    config, files = place
    client, _ = served.serve(config, tmp_path, token=None)
    assert client('PUT', '/tasks/other', files['newer'].read_bytes(), AUTHORIZED).status == 403


def test_files_that_do_not_fit(server, place, tmp_path):
    client, backend, files = server
    good = files['newer'].read_bytes()
    for content, reason in ((good[:-9], 'truncated'), (b'', 'truncated'), (b'\x80\x04.', 'truncated')):
        reply = client('PUT', '/tasks/deep', content, AUTHORIZED)
        assert reply.status == 422 and reason in reply.json['error']
    (tmp_path / 'else').mkdir()
    other = served.fixed(served.write_config(tmp_path / 'else'), tmp_path / 'else', seed=1)
    path = write_task(other, tmp_path / 'else' / 'x.safetensors', 1)
    reply = client('PUT', '/tasks/x', path.read_bytes(), AUTHORIZED)
    assert reply.status == 422 and 'other frozen weights' in reply.json['error']
    assert backend.engine.bank.names == ('deep', 'probe')
    assert client.json('/predict', image=text(picture()), task='deep').status == 200


def test_a_bad_file_in_the_folder_is_said_of_its_task_alone(server, tmp_path):
    client, *_ = server
    (tmp_path / 'bad.safetensors').write_bytes(b'no file')
    assert client.json('/predict', image=text(picture()), task='bad').status == 422
    assert client.json('/predict', image=text(picture()), task='deep').status == 200
    found = client('GET', '/tasks').json
    assert [task['name'] for task in found['tasks']] == ['deep', 'probe'] and 'bad.safetensors' in found['unfit'][0]
    every = client.json('/predict', images=[text(picture(0)), text(picture(1))], task='*')
    assert [answer['task'] for answer in every.json['answers']] == ['deep', 'probe'] * 2
    assert every.json['unfit'] == found['unfit'] and str(tmp_path) not in every.json['unfit'][0]


def test_a_task_that_goes_while_all_are_asked_is_none_of_them(server, monkeypatch):
    client, backend, _ = server
    predict = backend.predict

    async def late(images, pairs):
        backend.engine.bank.remove('deep')
        return await predict(images, pairs)

    monkeypatch.setattr(backend, 'predict', late)
    found = client.json('/predict', image=text(picture()), task='*').json
    assert [answer['task'] for answer in found['answers']] == ['probe'] and found['unfit'] == []


def test_nothing_of_a_removed_task_is_ready(server, tmp_path):
    client, *_ = server
    client.json('/predict', image=text(picture()), task='*')
    before = client('GET', '/health').json
    (tmp_path / 'deep.safetensors').unlink()
    after = client('GET', '/health').json
    assert (before['ready'], after['ready'], after['tasks']) == (2, 1, 1) and 0 < after['bytes'] < before['bytes']


def test_a_file_that_is_spoiled_during_a_batch_is_said_of_its_task_alone(server, monkeypatch):
    _, backend, _ = server
    answer = backend.engine.bank.answer

    def spoiled(images, names):
        if 'probe' in names:
            raise ValueError('probe.safetensors is truncated')
        return answer(images, names)

    monkeypatch.setattr(backend.engine.bank, 'answer', spoiled)
    image = torch.zeros(3, 16, 16, dtype=torch.uint8)
    good, bad = backend.engine.predict([(image, 'deep'), (image, 'probe')])
    assert good.task == 'deep' and (bad.status, bad.message) == (422, 'probe.safetensors is truncated')


@pytest.mark.parametrize('name', ['..%2Fdeep', '..', 'a.b', '-', 'x' * 65, '%00', 'a b'])
def test_names_are_no_paths(server, name, tmp_path):
    client, _, files = server
    asked = name.replace('%2F', '/').replace('%00', '\0')
    assert client('PUT', f'/tasks/{asked}', files['newer'].read_bytes(), AUTHORIZED).status in (400, 404)
    assert client.json('/predict', image=text(picture()), task=asked).status == 400
    assert sorted(path.name for path in tmp_path.iterdir()) == ['deep.safetensors', 'probe.safetensors']


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it has this many pixels a side."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    head = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(b'\0' * 99)) + chunk(b'IEND', b'')


def says(content: bytes, at: bytes, place: int, sizes: bytes) -> bytes:
    """An image whose header says other sizes: ``place`` bytes after the marker ``at``."""
    start = content.index(at) + place
    return content[:start] + sizes + content[start + len(sizes) :]


@pytest.mark.parametrize(
    ('content', 'status', 'reason'),
    [
        (b'no image', 422, 'no image of'),
        (b'', 422, 'no image of'),
        (picture(size=(64, 64))[:-2000], 422, 'cannot be decoded'),
        (picture(size=(64, 64), kind='JPEG')[:-1500], 422, 'cannot be decoded'),
        (b'GIF89a' + bytes(20), 422, 'no image of'),
        (bomb(30_000), 413, 'pixels'),
        (bomb(9_000), 413, 'an image of 9000 x 9000 pixels'),
        (says(picture(kind='BMP'), b'BM', 18, struct.pack('<ii', 9000, 9000)), 413, '9000 x 9000'),
        (says(picture(kind='JPEG'), b'\xff\xc0', 5, struct.pack('>HH', 9000, 9000)), 413, '9000 x 9000'),
    ],
    ids=['text', 'nothing', 'cut PNG', 'cut JPEG', 'another kind', 'bomb', 'large', 'large BMP', 'large JPEG'],
)
def test_images_that_are_refused(server, content, status, reason, monkeypatch):
    client, *_ = server
    if status == 413:  # before anything is decoded
        monkeypatch.setattr('PIL.ImageFile.ImageFile.load', lambda image: pytest.fail('it was decoded'))
    reply = client.json('/predict', image=text(content), task='deep')
    assert (reply.status, reason in reply.json['error']) == (status, True), reply
    monkeypatch.undo()
    assert client.json('/predict', image=text(picture()), task='deep').status == 200


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'MPO', 'WEBP', 'BMP'])
def test_kinds_of_images(server, kind):
    client, *_ = server
    assert client.json('/predict', image=text(picture(size=(40, 24), kind=kind)), task='deep').status == 200


@pytest.mark.parametrize(
    ('body', 'headers', 'status'),
    [
        (b'{', {'content-type': 'application/json'}, 400),
        (b'[' * 100_000, {'content-type': 'application/json'}, 400),
        (b'[]', {'content-type': 'application/json'}, 400),
        (b'{}', {'content-type': 'application/json'}, 400),
        (b'{"image": 1, "task": "deep"}', {'content-type': 'application/json'}, 400),
        (b'{"image": "###", "task": "deep"}', {'content-type': 'application/json'}, 400),
        (b'{"image": "", "tasks": "deep"}', {'content-type': 'application/json'}, 400),
        (b'{"image": "", "tasks": [1]}', {'content-type': 'application/json'}, 400),
        (b'{"image": "", "task": "deep", "top": 0}', {'content-type': 'application/json'}, 400),
        ('{"image": "", "task": "deep", "top": "\u00b2"}'.encode(), {'content-type': 'application/json'}, 400),
        (b'{"image": "", "tasks": [["deep"], ["deep"]]}', {'content-type': 'application/json'}, 400),
        (b'x', {'content-type': 'multipart/form-data'}, 400),
        (b'x', {'content-type': 'text/plain'}, 415),
        (b'x', {}, 415),
    ],
)
def test_requests_that_cannot_be_read(server, body, headers, status):
    client, *_ = server
    reply = client('POST', '/predict', body, headers)
    assert reply.status == status and reply.json['error']


@pytest.mark.parametrize(('method', 'path', 'status'), [('GET', '/predict', 405), ('GET', '/nowhere', 404)])
def test_errors_are_json_everywhere(server, method, path, status):
    client, *_ = server
    reply = client(method, path)
    assert reply.status == status and path in reply.json['error']


def test_the_kind_of_a_body_is_read_in_any_case(server):
    client, *_ = server
    body, headers = b'{"image": "%b", "task": "deep"}' % text(picture()).encode(), 'Application/JSON; charset=utf-8'
    assert client('POST', '/predict', body, {'content-type': headers}).status == 200


def test_limits(place, tmp_path):
    config, files = place
    client, backend = served.serve(
        config, tmp_path, Limits(body=3000, file=100, images=2, answers=3, queue=3, client=2, total=1000)
    )
    backend.engine.bank.add('deep', files['deep'])
    small = text(picture())
    assert client.json('/predict', image='A' * 4000, task='deep').status == 413
    body, headers = form([('image', bytes(4000)), ('task', 'deep')])
    assert client('POST', '/predict', body, {**headers, 'content-length': None}).status == 413  # counted as it comes
    for size, left in ((11_000, 0), (200_000, 4)):  # most clients hear no answer before they have sent all
        assert client('POST', '/predict', bytes(size), {'content-type': 'application/json'}).status == 413
        assert len(client.unread) == left, size
    assert client.json('/predict', images=[small] * 2, tasks=['deep', 'deep']).status == 413
    assert client.json('/predict', images=[small] * 3, tasks=['deep']).status == 413
    flat = text(bomb(30))
    reply = client.json('/predict', images=[flat, flat], tasks=['deep'])
    assert reply.status == 413 and 'images of 1,800 pixels together' in reply.json['error']
    assert client('PUT', '/tasks/x', files['newer'].read_bytes(), AUTHORIZED).status == 413
    assert client.json('/predict', image=small, task='deep').status == 200


def test_what_never_fits_into_the_queue_is_too_large(place, tmp_path):
    client, backend = served.serve(place[0], tmp_path, Limits(queue=2))
    backend.engine.bank.add('deep', place[1]['deep'])
    reply = client.json('/predict', images=[text(picture())] * 3, task='deep')
    assert reply.status == 413 and '3 answers in a request, more than 2' in reply.json['error']


@pytest.mark.parametrize(
    ('limits', 'status'), [(Limits(queue=2), 503), (Limits(client=2), 429)], ids=['queue', 'client']
)
def test_a_full_queue_and_a_client_that_asks_too_often(limits, status, place, tmp_path):
    config, files = place
    client, backend = served.serve(config, tmp_path, limits)
    backend.engine.bank.add('deep', files['deep'])
    go, predict = asyncio.Event(), backend.predict

    async def slow(images, pairs):
        await go.wait()
        return await predict(images, pairs)

    backend.predict = slow
    body, headers = form([('image', picture()), ('task', 'deep')])

    async def crowd() -> list[served.Reply]:
        asked = [asyncio.create_task(client.ask('POST', '/predict', body, headers)) for _ in range(5)]
        await asyncio.sleep(0.5)
        go.set()
        return await asyncio.gather(*asked)

    found = asyncio.run(crowd())
    assert sorted(reply.status for reply in found) == [200, 200, status, status, status]
    assert all(reply.headers['retry-after'] == '1' for reply in found if reply.status != 200)
    assert client('POST', '/predict', body, headers).status == 200


def test_health_metrics_and_the_page(server):
    client, *_ = server
    client.json('/predict', image=text(picture()), task='deep')
    assert client('GET', '/health').json['status'] == 'ok'
    found = client('GET', '/metrics').content.decode()
    assert 'vptx_answers_total{front="",task="deep"} 1.0' in found
    assert 'vptx_requests_total{front="",route="/predict",status="200"} 1.0' in found
    assert 'vptx_bank_tasks{replica="here"} 2.0' in found and 'vptx_queue{front=""} 0.0' in found
    assert 'vptx_bank_answers{replica="here"} 1.0' in found
    page = client('GET', '/')
    assert page.status == 200 and "connect-src 'self'" in page.headers['content-security-policy']
    assert b'http:' not in page.content and b'https:' not in page.content and b'//' not in page.content


def test_attention_of_the_class_token(server):
    client, *_ = server
    found = client.json('/attention', image=text(picture()), task='deep').json
    assert found['grid'] == [2, 2] and len(found['layers']) == 2
    for layer in found['layers']:
        assert [len(layer[part]) for part in ('own', 'prompts', 'patches')] == [1, 3, 4]
        assert sum(map(sum, layer.values())) == pytest.approx(1, abs=1e-5)
    probe = client.json('/attention', image=text(picture()), task='probe').json
    assert [len(layer['prompts']) for layer in probe['layers']] == [0, 0]
    assert client.json('/attention', images=[text(picture())] * 2, task='deep').status == 400


def test_no_file_is_unpickled(server, monkeypatch, tmp_path):
    client, *_ = server
    monkeypatch.setattr(torch, 'load', lambda *_, **__: pytest.fail('unpickled'))
    torch.save(dict(a=torch.zeros(2)), tmp_path / 'x.pth')
    content = (tmp_path / 'x.pth').read_bytes()
    (tmp_path / 'x.pth').unlink()
    assert client('PUT', '/tasks/x', content, AUTHORIZED).status == 422
