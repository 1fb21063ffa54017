"""No file that vptx, or MMEngine under it, loads can run code: every door, every attack."""

import json
import threading
from contextlib import suppress
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import numpy as np
import pytest
import torch
from malice import ATTACKS, Looks, write_attack
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmpretrain import get_model
from networks import tiny
from runs import net, runner, tiny_config, write_config
from safetensors.torch import save_file

import vptx
from vptx.backbones import TimmViT
from vptx.files import read_safetensors, safe_load
from vptx.prompt_file import read_prompt
from vptx.weights import read_tensors


def prompted(prompter: dict | None = None):
    return vptx.attach(tiny(), prompter or dict(type='DeepPrompter', num_tokens=3))


def from_inference(path, tmp_path):
    vptx.init_model(write_config(tmp_path / 'config.py', tmp_path), path)


def from_run(path, tmp_path, resume, test=False):
    run = runner(tmp_path / 'work', load_from=str(path), resume=resume)
    run.test() if test else run.train()


def from_last_checkpoint(path, tmp_path):
    (tmp_path / 'work').mkdir()
    (tmp_path / 'work' / 'last_checkpoint').write_text(str(path))
    runner(tmp_path / 'work', resume=True).train()


def from_newest_checkpoint(path, tmp_path):
    (tmp_path / 'work').mkdir()
    path.rename(tmp_path / 'work' / 'epoch_7.pth')
    runner(tmp_path / 'work', resume=True).train()


def from_init_cfg(path, tmp_path):
    model = tiny_config(tmp_path)['model'] | dict(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    runner(tmp_path / 'work', model=model).train()


def from_zoo(path, tmp_path, monkeypatch):
    """A model of OpenMMLab's zoo, by the list that a user may keep at home."""
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    (tmp_path / 'open_mmlab.json').write_text(json.dumps(dict(evil=path.name)))
    CheckpointLoader.load_checkpoint('open-mmlab://evil')


def from_http(path, tmp_path, monkeypatch, name='http://127.0.0.1:{port}/{file}'):
    """Over a real connection."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('MMENGINE_HOME', str(tmp_path))
    handler = partial(SimpleHTTPRequestHandler, directory=path.parent)
    handler.log_message = lambda *_: None
    with HTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f'http://127.0.0.1:{server.server_port}/{path.name}'
        (tmp_path / 'open_mmlab.json').write_text(json.dumps(dict(evil=url)))
        try:
            CheckpointLoader.load_checkpoint(url if name == 'http' else 'open-mmlab://evil')
        finally:
            server.shutdown()


LOADERS = {
    'safe_load': lambda path, _: safe_load(path),
    'read_prompt': lambda path, _: read_prompt(path),
    'read_tensors': lambda path, _: read_tensors(path),
    'load_prompt': lambda path, _: vptx.load_prompt(prompted(), path),
    'init_model': from_inference,
    'mmengine.load_checkpoint': lambda path, _: load_checkpoint(prompted(), str(path)),
    'mmpretrain.get_model': lambda path, tmp: get_model(str(write_config(tmp / 'c.py', tmp)), pretrained=str(path)),
    'load_from': partial(from_run, resume=False),
    'resume': partial(from_run, resume=True),
    'load_from, test': partial(from_run, resume=False, test=True),
    'last_checkpoint': from_last_checkpoint,
    'newest checkpoint': from_newest_checkpoint,
    'init_cfg': from_init_cfg,
    'weights': lambda path, _: TimmViT('vit_mini_patch8_64', weights=str(path)),
    'checkpoint_path of timm': lambda path, _: TimmViT('vit_mini_patch8_64', checkpoint_path=str(path)),
    'weights in a run': lambda path, tmp: runner(tmp / 'work', **{'model.backbone.net': net(weights=str(path))}),
}
OTHERS = {name: loader for name, loader in LOADERS.items() if loader is not from_newest_checkpoint}  # goes by .pth
ZOOS = {'zoo': from_zoo, 'http': partial(from_http, name='http'), 'zoo over http': partial(from_http, name='zoo')}


@pytest.mark.parametrize('attack', ATTACKS)
def test_the_attacks_are_real(attack, tmp_path):
    """Without this, a broken attack would make every test below pass."""
    path, target = write_attack(tmp_path / 'evil.pth', tmp_path / 'target', attack), tmp_path / 'target'
    with suppress(RuntimeError):  # of the nested one, after it has run: what it opens is no checkpoint
        torch.load(path, weights_only=False)
    assert target.exists()


@pytest.mark.parametrize('attack', ['open', 'getattr'])
@pytest.mark.parametrize('loader', LOADERS.values(), ids=LOADERS)
def test_pickles_never_execute(loader, attack, tmp_path):
    path, target = write_attack(tmp_path / 'evil_1.pth', tmp_path / 'target', attack), tmp_path / 'target'
    with pytest.raises((ValueError, RuntimeError), match=r'could run code|weights_only=True blocked') as error:
        loader(path, tmp_path)
    assert 'evil_1.pth' in str(error.value) or 'epoch_7.pth' in str(error.value) or 'timm' in str(error.traceback[-1])
    assert not target.exists()


@pytest.mark.parametrize('attack', ['open', 'getattr'])
@pytest.mark.parametrize('loader', ZOOS.values(), ids=ZOOS)
def test_pickles_of_a_zoo_never_execute(loader, attack, tmp_path, monkeypatch):
    path, target = write_attack(tmp_path / 'evil.pth', tmp_path / 'target', attack), tmp_path / 'target'
    with pytest.raises(ValueError, match='could run code'):
        loader(path, tmp_path, monkeypatch)
    assert not target.exists()


@pytest.mark.parametrize('loader', OTHERS.values(), ids=OTHERS)
def test_a_pickle_by_the_name_of_safetensors_never_executes(loader, tmp_path):
    path, target = write_attack(tmp_path / 'evil_1.safetensors', tmp_path / 'target'), tmp_path / 'target'
    with pytest.raises(Exception, match=r'not a safetensors file|header|Error while deserializing'):
        loader(path, tmp_path)
    assert not target.exists()


@pytest.mark.parametrize('name', ['prompts.npy', 'prompts.safetensors'])
def test_initial_prompts_never_execute(name, tmp_path):
    path, target = tmp_path / name, tmp_path / 'target'
    evil = np.empty((3, 3, 32), dtype=object)
    evil[:] = ATTACKS['open'](target)
    with path.open('wb') as file:
        np.save(file, evil, allow_pickle=True)
    with pytest.raises(ValueError, match=r'prompts\..* cannot be read'):
        prompted(dict(type='DeepPrompter', num_tokens=3, init=str(path)))
    assert not target.exists()


def test_numpy_weights_never_execute(tmp_path):
    path, target = tmp_path / 'weights.npz', tmp_path / 'target'
    evil = np.empty((1,), dtype=object)
    evil[:] = ATTACKS['open'](target)
    names = {'embedding/kernel': evil, 'embedding/bias': evil, 'cls': evil, 'opt/target/embedding/kernel': evil}
    np.savez(path, **names)
    with pytest.raises(ValueError, match=r'weights\.npz'):
        TimmViT('vit_mini_patch8_64', weights=str(path))
    assert not target.exists()


def test_nested_pickles_never_execute(tmp_path):
    path, target = write_attack(tmp_path / 'evil.pth', tmp_path / 'target', 'nested'), tmp_path / 'target'
    with pytest.raises(ValueError, match='could run code'):
        safe_load(path)
    assert not target.exists()


def test_a_real_log_history_is_not_refused(tmp_path):
    """What MMEngine writes names four methods by ``getattr``: those, and nothing else, may pass."""
    path = tmp_path / 'log.pth'
    torch.save(dict(loss=HistoryBuffer([1.0, 3.0], [1, 1])), path)
    assert safe_load(path)['loss'].mean() == 2


@pytest.mark.parametrize(
    ('owner', 'name'), [('HistoryBuffer', '__init__'), ('HistoryBuffer', 'update'), ('dict', 'min')]
)
def test_any_other_getattr_is_refused(owner, name, tmp_path):
    path = tmp_path / 'look.pth'
    torch.save(Looks(HistoryBuffer if owner == 'HistoryBuffer' else np.dtype, name), path)
    with pytest.raises(ValueError, match=r'could run code \(getattr\('):
        safe_load(path)


def test_safetensors_of_others_are_read_as_tensors(tmp_path):
    path = tmp_path / 'theirs.safetensors'
    save_file(dict(a=torch.ones(2)), path)
    tensors, facts = read_safetensors(path)
    assert torch.equal(tensors['a'], torch.ones(2))
    assert facts == {}
