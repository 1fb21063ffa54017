"""No file that vptx, or MMEngine under it, loads can run code, or has anything fetched: every door, every attack."""

import json
import subprocess
import sys
import threading
from argparse import Namespace
from contextlib import suppress
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import numpy as np
import pytest
import torch
from malice import ATTACKS, Looks, listening, write_attack, write_config_attack
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmpretrain import get_model
from networks import tiny
from runs import environment, net, newest, runner, tiny_config, write_config, write_weights
from safetensors.torch import save_file

import vptx
from vptx.backbones import TimmViT
from vptx.configs import load_config, make_runner
from vptx.files import read_safetensors, safe_load
from vptx.prompt_file import read_prompt, write_prompt
from vptx.studies import report
from vptx.studies.records import config_text
from vptx.studies.trials import Run
from vptx.weights import hub, read_tensors

STOCK = {
    'model.backbone': dict(
        type='VisionTransformer',
        arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
        img_size=16,
        patch_size=8,
        _delete_=True,
    ),
    'model.head': dict(type='VisionTransformerClsHead', num_classes=3, in_channels=32, _delete_=True),
}


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


# Configs that a checkpoint holds as a text.


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """A run of two epochs, with and without the hook: the checkpoint of its first epoch, and its prompt file."""
    folder = tmp_path_factory.mktemp('finished')
    weights = write_weights(folder / 'weights.pth')
    for name, changes in (('hook', {}), ('none', dict(hooks=[]))):
        keep = {'default_hooks.checkpoint.max_keep_ckpts': -1, 'model.backbone.net': net(weights=str(weights))}
        runner(folder / name, **keep, **changes).train()
    return folder


def own(finished, **changes) -> dict:
    return {'model.backbone.net': net(weights=str(finished / 'weights.pth')), **changes}


def resumed_from_file(path, work_dir, changes):
    runner(work_dir, resume=True, load_from=str(path), **changes).train()


def resumed_by_tool(path, work_dir, changes):
    config = write_config(work_dir.with_suffix('.py'), work_dir, **changes)
    asked = Namespace(config=str(config), resume=str(path), work_dir=None, cfg_options={}, launcher='none')
    make_runner(load_config(asked)).train()


def resumed_from_pointer(path, work_dir, changes):
    work_dir.mkdir()
    path.rename(work_dir / 'epoch_1.pth')
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_1.pth'))
    runner(work_dir, resume=True, **changes).train()


def resumed_from_newest(path, work_dir, changes):
    work_dir.mkdir()
    path.rename(work_dir / 'epoch_1.pth')
    runner(work_dir, resume=True, **changes).train()


def resumed_by_experiment(path, work_dir, changes):
    (work_dir / 'a').mkdir(parents=True)
    path.rename(work_dir / 'a' / 'epoch_1.pth')
    Run(work_dir, 'a', Config(tiny_config(work_dir, launcher='none', **changes)), {}, 'val').do()


RESUMED = dict(
    file=resumed_from_file,
    tool=resumed_by_tool,
    pointer=resumed_from_pointer,
    newest=resumed_from_newest,
    experiment=resumed_by_experiment,
)


def test_the_attack_by_config_is_real(finished, tmp_path):
    path = write_config_attack(tmp_path / 'evil.pth', tmp_path / 'target', finished / 'hook' / 'epoch_1.pth')
    Config.fromstring(torch.load(path, weights_only=False)['meta']['config'], file_format='.py')
    assert (tmp_path / 'target').exists()


@pytest.mark.parametrize(
    ('door', 'kind'),
    # Without the hook MMEngine looks for the pointer alone.
    [(door, kind) for door in RESUMED for kind in ('hook', 'none') if (door, kind) != ('newest', 'none')],
)
def test_a_config_in_a_checkpoint_never_runs(door, kind, finished, tmp_path):
    path = write_config_attack(tmp_path / 'evil.pth', tmp_path / 'target', finished / kind / 'epoch_1.pth')
    RESUMED[door](path, tmp_path / 'work', own(finished, **(dict(hooks=[]) if kind == 'none' else {})))
    assert not (tmp_path / 'target').exists()


def test_a_checkpoint_without_a_config_of_the_users_never_runs(finished, tmp_path):
    """As MMEngine's inferencers take one."""
    path = write_config_attack(tmp_path / 'evil.pth', tmp_path / 'target', finished / 'hook' / 'epoch_1.pth')
    found = CheckpointLoader.load_checkpoint(str(path))
    assert 'cfg' not in found['meta'] and 'cfg' not in found['message_hub']['runtime_info']


@pytest.mark.parametrize('name', ['meta', 'message_hub'])
def test_parts_of_a_checkpoint_that_only_look_like_dicts(name, tmp_path):
    torch.save({'state_dict': {}, name: ['config', 'epoch']}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match=rf'a\.pth is no checkpoint of MMEngine: {name} is a list'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))


@pytest.mark.parametrize(
    ('change', 'match'),
    [
        (lambda c: c['meta'].update(epoch=-1), r'it lacks: meta\.epoch, a count'),
        (lambda c: c['meta'].update(iter='3'), r'it lacks: meta\.iter, a count'),
        (lambda c: c['meta'].update(epoch=float('nan')), r'it lacks: meta\.epoch'),
        (lambda c: c['meta'].update(seed='x'), r'it lacks: meta\.seed'),
        (lambda c: c.update(message_hub=None), 'message_hub is a NoneType, not a dict'),
        (lambda c: c['message_hub'].pop('log_scalars'), 'it lacks: message_hub'),
        (lambda c: c.update(optimizer=3), 'it lacks: optimizer, a dict'),
        (lambda c: c.update(optimizer={}), 'it lacks: optimizer, a dict'),
        (lambda c: c['message_hub']['runtime_info'].update(best_score='good'), 'it lacks: message_hub, best scores'),
        (lambda c: c['optimizer']['param_groups'][0].update(lr=-1.0), r'cannot be resumed from: lr is -1\.0'),
        (lambda c: c['param_schedulers'][0].update(last_step='x'), r"of CosineAnnealingLR, last_step is 'x'"),
        (lambda c: c['optimizer']['state'][0]['exp_avg'].fill_(torch.nan), 'it lacks: optimizer, of finite numbers'),
        (lambda c: c.update(param_schedulers='x'), 'it lacks: param_schedulers'),
        (lambda c: c.pop('state_dict'), 'is no prompt file'),
        (lambda c: c['meta'].update(vptx=3), 'is no prompt file'),
        (lambda c: c.update(meta=None), 'meta is a NoneType, not a dict'),
    ],
)
def test_a_checkpoint_that_cannot_be_resumed_from(change, match, finished, tmp_path):
    found = torch.load(finished / 'hook' / 'epoch_1.pth', weights_only=False)
    change(found)
    torch.save(found, tmp_path / 'odd.pth')
    with pytest.raises(ValueError, match=rf'^\S+odd\.pth .*{match}'):
        runner(tmp_path / 'work', resume=True, load_from=str(tmp_path / 'odd.pth'), **own(finished)).train()


# Addresses that a file names.

OTHERS = dict(backbone=dict(float32='0' * 16))  # fingerprints of other weights


@pytest.mark.parametrize('door', ['test', 'train', 'resume', 'init_model', 'load_prompt'])
@pytest.mark.parametrize('stock', [False, True], ids=['own backbone', 'stock backbone'])
def test_no_address_in_a_file_is_asked(door, stock, finished, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    changes = STOCK if stock else own(finished)
    run = runner(tmp_path / 'made', **changes)
    run.train()
    source = newest(tmp_path / 'made') if door == 'resume' else tmp_path / 'made' / 'prompt.safetensors'
    evil = tmp_path / f'evil{source.suffix}'
    with listening() as (address, asked):
        place = f'{address}/resnet18-f37072fd.pth'
        if door == 'resume':
            found = torch.load(source, weights_only=False)
            found['meta']['vptx'].update(frozen_from=place, fingerprint=OTHERS)
            torch.save(found, evil)
        else:
            tensors, facts = read_prompt(source)
            write_prompt(evil, tensors, dict(facts, frozen_from=place, fingerprint=OTHERS))
        work = runner(tmp_path / 'work', load_from=str(evil), resume=door == 'resume', **changes)
        enter = dict(
            init_model=lambda: vptx.init_model(write_config(tmp_path / 'config.py', tmp_path, **changes), evil),
            load_prompt=lambda: vptx.load_prompt(run.model, evil),
            test=work.test,
        ).get(door, work.train)
        with pytest.raises(ValueError, match=rf'^{evil} was trained on other frozen weights.*because a file says so'):
            enter()
    assert not asked and not list((tmp_path / 'home').rglob('*.pth'))


def test_downloads_do_not_share_names(tmp_path, monkeypatch):
    """What is fetched from one address is not taken for what lies at another, nor by timm for the official file."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    for name in 'ab':
        (tmp_path / 'served' / name).mkdir(parents=True)
        torch.save(dict(state_dict=dict(a=torch.ones(1))), tmp_path / 'served' / name / 'resnet18-f37072fd.pth')
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / 'served')
    with HTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in 'ab':
            address = f'http://127.0.0.1:{server.server_port}/{name}/resnet18-f37072fd.pth'
            assert CheckpointLoader.load_checkpoint(address)['state_dict']['a'] == 1
        server.shutdown()
    cached = sorted(path.relative_to(tmp_path / 'home') for path in (tmp_path / 'home').rglob('*') if path.is_file())
    assert len(cached) == 2 and all(str(path.parent) == 'hub/vptx' for path in cached)
    with pytest.raises(FileNotFoundError, match=r'neither in the cache \(TORCH_HOME\)'):
        hub.fetch('https://127.0.0.1:9/b/resnet18-f37072fd.pth')


# Folders of results.


def test_a_config_in_a_folder_of_results_never_runs(tmp_path):
    target, study = tmp_path / 'target', tmp_path / 'out' / 'deep' / 'TinyImages'
    (study / 'final' / 'lr=1' / 'seed1').mkdir(parents=True)
    (study / 'config.py').write_text(f"open({str(target)!r}, 'w')\n")
    (study / 'final' / 'lr=1' / 'seed1' / 'prompt.safetensors').write_bytes(b'')
    outcome = dict(leaf='deep', task='TinyImages', point={'lr': 1.0}, val=1.0, test=[1.0])
    (tmp_path / 'out' / 'results.json').write_text(json.dumps([outcome]))
    (tmp_path / 'out' / 'trials.csv').write_text('\n')  # as of a study without a run
    found = report.read([tmp_path / 'out'])
    with pytest.raises(FileNotFoundError, match=r'config\.json'):
        report.write(found, tmp_path / 'report', look=['TinyImages'])
    code = dict(type='subprocess.Popen', args=['touch', str(target)])
    (study / 'config.json').write_text(config_text(Config(tiny_config(tmp_path, model=code))))
    with pytest.raises(ValueError, match=r"config\.json is refused: it asks for 'subprocess\.Popen'"):
        report.write(found, tmp_path / 'report', look=['TinyImages'])
    assert not target.exists()


def test_a_folder_where_a_tool_is_run_takes_no_librarys_place(tmp_path):
    (tmp_path / 'sklearn').mkdir()
    (tmp_path / 'sklearn' / '__init__.py').write_text(f"open({str(tmp_path / 'target')!r}, 'w')\n")
    (tmp_path / 'my_own_module.py').write_text('found = True\n')
    code = 'from vptx.configs import find_own_modules; find_own_modules(); import my_own_module, sklearn'
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere' / 'tool.py').write_text(code)
    done = subprocess.run(
        [sys.executable, str(tmp_path / 'elsewhere' / 'tool.py')], env=environment(), cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / 'target').exists()
