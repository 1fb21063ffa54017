"""What the server answers of segmentors."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import segruns
import served
import torch
from mmengine.config import Config
from PIL import Image
from served import AUTHORIZED, picture

import vptx
from vptx.segmentation import colours, predict
from vptx.serve import masks


def of_classes(config: Config, classes: Sequence[str]) -> Config:
    """The config of a task."""
    config = Config(config.to_dict())
    config.custom_hooks[0].tune = ['decode_head']
    config.model.decode_head.num_classes = len(classes)
    config.test_dataloader.dataset.metainfo = dict(classes=classes)
    config.model.auxiliary_head = None
    return config


def write_task(config: Config, path: Path, classes: Sequence[str] = segruns.CLASSES, seed: int = 0) -> Path:
    """A task of a segmentor, drawn from a seed."""
    return served.save_drawn(vptx.init_model(of_classes(config, classes)), path, seed, classes)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A config, and files of two tasks."""
    folder = tmp_path_factory.mktemp('masks')
    config = segruns.seg_config(folder, folder)
    segruns.weights(folder / 'weights.pth')
    files = {
        'scene': write_task(config, folder / 'scene.safetensors'),
        'parts': write_task(config, folder / 'parts.safetensors', ('a', 'b', 'c'), seed=1),
    }
    return config, files


@pytest.fixture
def server(place, tmp_path):
    config, files = place
    client, backend = served.serve(config, tmp_path)
    for name, path in files.items():
        backend.engine.bank.add(name, path)
    return client, backend


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def labels(answer: dict) -> np.ndarray:
    """Indices in the PNG of an answer."""
    image = Image.open(io.BytesIO(base64.b64decode(answer['mask'])))
    assert image.mode == 'P'
    return np.asarray(image)


def test_pictures_of_several_sizes_under_several_tasks(server, place, tmp_path):
    """Each mask is that of the tool, in the colours of the data set where that has the classes."""
    client, _ = server
    config, files = place
    sizes = [(32, 32), (40, 57), (40, 57)]
    pictures = [picture(seed, size) for seed, size in enumerate(sizes)]
    reply = client.json('/predict', images=[text(content) for content in pictures], tasks=['scene', 'parts'])
    assert reply.status == 200, reply
    answers = reply.json['answers']
    assert [(a['image'], a['task']) for a in answers] == [(i, t) for i in range(3) for t in ('scene', 'parts')]
    palettes = dict(scene=segruns.COLOURS.tolist(), parts=colours(3))
    names = dict(scene=segruns.CLASSES, parts=('a', 'b', 'c'))
    for task in names:
        model = vptx.init_model(of_classes(config, names[task]), files[task])
        for index, content in enumerate(pictures):
            (tmp_path / 'picture.png').write_bytes(content)
            ((_, _, wanted),) = predict(model, [tmp_path / 'picture.png'])
            (answer,) = [a for a in answers if (a['image'], a['task']) == (index, task)]
            found = labels(answer)
            assert found.shape == wanted.shape == sizes[index] and np.mean(found == wanted) > 0.999
            shares = [c['share'] for c in answer['classes']]
            assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=1e-5)
            for said in answer['classes']:
                assert said['share'] == pytest.approx(np.mean(found == said['index']), abs=1e-5)
                assert said['name'] == names[task][said['index']]
                assert said['colour'] == '#' + bytes(palettes[task][said['index']]).hex()
    described = client('GET', '/tasks').json['tasks']
    assert [task['colours'] for task in described] == [palettes['parts'], palettes['scene']]
    assert client('GET', '/health').json['segments'] is True


def test_what_is_wrong_with_one_picture_is_no_concern_of_others(server, monkeypatch):
    client, backend = server
    backend.engine.bank.frozen.decoder.test_cfg.mode = 'whole'
    for task in ('scene', 'parts'):
        backend.engine.bank.task(task).head.test_cfg.mode = 'whole'
    backend.engine.masks.preprocessor.test_cfg = None
    good, odd = text(picture()), text(picture(size=(33, 35)))
    reply = client.json('/predict', images=[good, odd], tasks=['scene'])
    assert reply.status == 422 and '33' in reply.json['error']
    photographs = [masks.Photograph(torch.zeros(3, *size), size) for size in ((32, 32), (33, 35))]
    found = backend.engine.predict([(photograph, 'scene') for photograph in photographs])
    assert isinstance(found[0], masks.Mask) and found[1].status == 422


def test_large_pictures(server, monkeypatch):
    """What of a batch would be too large is parted, a mask that would be is smaller, and an image that is too large for
    the classes is refused."""
    client, _ = server
    content = text(picture(size=(64, 96)))
    whole = client.json('/predict', image=content, tasks=['scene', 'parts']).json['answers']
    monkeypatch.setattr(masks, 'LOGITS', 4 * 64 * 96)
    assert client.json('/predict', image=content, tasks=['scene', 'parts']).json['answers'] == whole
    monkeypatch.setattr(masks, 'LOGITS', 4 * 64 * 96 - 1)
    reply = client.json('/predict', image=content, task='scene')
    assert reply.status == 413 and '64 x 96 px of 4 classes' in reply.json['error']
    assert client.json('/predict', image=text(picture()), task='scene').status == 200


def test_a_mask_of_a_photograph_that_was_resized_is_smaller_where_it_would_be_too_large(server, monkeypatch):
    _, backend = server
    monkeypatch.setattr(masks, 'LOGITS', 4 * 40 * 60)
    pixels = torch.zeros(3, 40, 60, dtype=torch.uint8)
    for size, wanted in (((40, 60), (40, 60)), ((81, 121), (27, 40)), ((20, 30), (20, 30))):
        (mask,) = backend.engine.predict([(masks.Photograph(pixels, size), 'scene')])
        assert Image.open(io.BytesIO(mask.png)).size == wanted[::-1]


def test_more_classes_than_a_palette_has(place, tmp_path):
    config, _ = place
    client, _ = served.serve(config, tmp_path)
    names = [f'class {index}' for index in range(300)]
    content = write_task(config, tmp_path / 'x.bin.safetensors', names).read_bytes()
    assert client('PUT', '/tasks/many', content, AUTHORIZED).status == 201
    (answer,) = client.json('/predict', image=text(picture()), task='many').json['answers']
    image = Image.open(io.BytesIO(base64.b64decode(answer['mask'])))
    assert image.mode.startswith('I')
    assert set(np.unique(np.asarray(image))) == {said['index'] for said in answer['classes']}


def test_files_that_do_not_fit_and_attention(server, place):
    client, _ = server
    content = place[1]['scene'].read_bytes()
    assert client('PUT', '/tasks/scene', content[:-9], AUTHORIZED).status == 422
    found = client.json('/attention', image=text(picture(size=(40, 57))), task='scene').json
    assert found['grid'] == [4, 4] and [len(layer['prompts']) for layer in found['layers']] == [3, 3, 3]
