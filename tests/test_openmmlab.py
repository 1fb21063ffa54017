"""Gaps of MMEngine and mmcv that are closed on ``import vptx``. (Pickles: ``test_malicious_files.py``.)"""

import json
import os
from importlib.util import find_spec, module_from_spec

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.fileio import get_file_backend
from mmengine.runner import CheckpointLoader, load_checkpoint, runner, save_checkpoint
from networks import tiny
from safetensors.torch import save_file

import vptx
from vptx.openmmlab import AtomicLocalBackend, _formatted_once
from vptx.shipped import find_config


def test_checkpoints_of_mmengine_are_written_whole(tmp_path, monkeypatch):
    """A disk that is full in the middle of writing leaves the old checkpoint."""
    path = tmp_path / 'a.pth'
    save_checkpoint(dict(a=torch.ones(2)), str(path))

    def full(number):
        raise OSError('no space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(OSError, match='no space left'):
        save_checkpoint(dict(a=torch.zeros(2)), str(path))
    assert torch.equal(CheckpointLoader.load_checkpoint(str(path))['a'], torch.ones(2))


def test_the_local_backend_is_ours(tmp_path):
    assert isinstance(get_file_backend(str(tmp_path)), AtomicLocalBackend)


def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / 'a.png')
    with pytest.raises(FileNotFoundError, match=r'there is no file .*a\.png'):
        get_file_backend(str(tmp_path)).get(tmp_path / 'a.png')


def test_safetensors_by_mmengines_loader(tmp_path):
    model = vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=3))
    vptx.save_prompt(model, tmp_path / 'p.safetensors', classes=list('abcdefg'))
    found = CheckpointLoader.load_checkpoint(str(tmp_path / 'p.safetensors'))
    assert found['meta']['vptx']['classes'] == list('abcdefg')
    assert torch.equal(found['state_dict']['prompter.embedding.rows.0'], model.prompter.embedding.rows[0])


def test_someone_elses_safetensors_by_mmengines_loader(tmp_path):
    model = torch.nn.Linear(2, 2)
    save_file(dict(weight=torch.ones(2, 2), bias=torch.zeros(2)), tmp_path / 'theirs.safetensors')
    load_checkpoint(model, str(tmp_path / 'theirs.safetensors'), strict=True)
    assert torch.equal(model.weight, torch.ones(2, 2))


@pytest.mark.parametrize('name', ['none.pth', 'none.safetensors'])
def test_missing_checkpoint(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / name)):
        CheckpointLoader.load_checkpoint(str(tmp_path / name))


def test_bases_of_mmseg_resolve(tmp_path):
    pytest.importorskip('mmseg')
    (tmp_path / 'config.py').write_text("_base_ = 'mmseg::_base_/schedules/schedule_20k.py'\n")
    assert Config.fromfile(tmp_path / 'config.py').train_cfg.max_iters == 20_000


def test_a_good_image_is_loaded_as_before(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 9, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), pixels)
    assert np.array_equal(LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.png')))['img'], pixels)


def test_ignored_images_stay_ignored(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'')
    assert LoadImageFromFile(ignore_empty=True)(dict(img_path=str(tmp_path / 'a.png'))) is None


@pytest.mark.parametrize('content', [b'', b'text'])
def test_a_bad_image_is_named(tmp_path, content):
    (tmp_path / 'a.png').write_bytes(content)
    with pytest.raises(ValueError, match=rf'{tmp_path}/a\.png cannot be read as an image'):
        LoadImageFromFile()(dict(img_path=str(tmp_path / 'a.png')))


def test_facts_are_plain_json(tmp_path):
    model = vptx.attach(tiny(), dict(type='AddedPrompter'))
    facts = vptx.prompt_file.describe(model)
    assert json.loads(json.dumps(facts)) == facts


def test_equal_settings_are_formatted_once(monkeypatch):
    """And no others: a setting that was changed has a text of its own."""
    counted = []
    monkeypatch.setattr(
        'yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (counted.append(text) or text.upper(), True)
    )
    config = Config(dict(rate=0.25, model=dict(type='only here')))
    texts = [config.pretty_text, Config(dict(rate=0.25, model=dict(type='only here'))).pretty_text]
    config.rate = 0.5
    texts.append(config.pretty_text)
    assert len(counted) == 3
    assert texts[0] == texts[1] != texts[2]
    assert 'RATE=0.5' in texts[2]


@pytest.mark.parametrize('name', ['cls/vitb16_in21k_cub_vpt_deep', 'seg/setr_vitl_vpt', 'mini/digits_linear'])
def test_the_text_of_a_config_is_that_of_mmengine(name, monkeypatch):
    found = find_spec('yapf.yapflib.yapf_api')
    real = module_from_spec(found)  # other tests do without it (cheap_configs.py)
    found.loader.exec_module(real)
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', real.FormatCode)
    config, original = Config.fromfile(find_config(name)), Config.pretty_text.fget.__wrapped__
    assert _formatted_once(original).fget(config) == original(config)


def test_the_text_of_a_config_that_is_no_code():
    for config in (Config({'not-a-name': 1, 'b': [2]}), Config(dict(b=2, a='c'), format_python_code=False)):
        assert config.pretty_text == Config.pretty_text.fget.__wrapped__(config)


def test_the_environment_is_looked_at_once(monkeypatch):
    found = runner.collect_env()
    monkeypatch.setattr('subprocess.check_output', lambda *_, **__: pytest.fail('asked again'))
    assert runner.collect_env() == found
