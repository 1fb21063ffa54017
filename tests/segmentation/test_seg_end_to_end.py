"""The tools on segmentation, in processes of their own, as a user runs them; and mmseg's own ways to a prediction."""

import json
import signal

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import inference_model
from PIL import Image
from runs import differences, hook, load, newest
from segruns import CLASSES, COLOURS, seg_config, write_images, write_seg_config

import vptx
from vptx.prompt_file import read_prompt
from vptx.segmentation import SegInferencer, overlay, predict, write_predictions

KEPT = ('state_dict', 'optimizer', 'param_schedulers')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def trained(start, data, tmp_path_factory):
    """Folder of a finished run: ``config.py``, ``work/``."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_seg_config(folder / 'config.py', folder / 'work', data)
    status, output = start('train', config, log=folder / 'log')
    assert status == 0, output
    return folder


def test_the_prompt_file_holds_prompts_and_heads(trained):
    tensors, facts = read_prompt(trained / 'work' / 'prompt.safetensors')
    assert facts['classes'] == list(CLASSES)
    outside = {name for name in tensors if name.startswith('outside.')}
    assert {name.split('.')[1] for name in outside} == {'decode_head', 'auxiliary_head'}
    assert tensors.keys() - outside == set(facts['prompts'])
    assert 'outside.decode_head.up_convs.0.0.bn.running_mean' in tensors


def test_killed_and_resumed_it_ends_bit_equal(start, data, trained, tmp_path):
    tuned = hook(tune=['decode_head', 'auxiliary_head'])
    deadly = [tuned, dict(type='KillHook', iteration=5)]
    imports = {'custom_imports.imports': ['vptx', 'vptx.segmentation', 'segruns', 'runs']}
    config = write_seg_config(tmp_path / 'deadly.py', tmp_path / 'work', data, hooks=deadly, **imports)
    assert start('train', config, log=tmp_path / 'log')[0] == -signal.SIGKILL
    config = write_seg_config(tmp_path / 'config.py', tmp_path / 'work', data)
    status, output = start('train', config, '--resume', log=tmp_path / 'log')
    assert status == 0, output
    ours, theirs = ({key: load(newest(f / 'work'))[key] for key in KEPT} for f in (tmp_path, trained))
    assert not differences(ours, theirs)


@pytest.mark.parametrize('tta', [False, True])
def test_test_takes_checkpoints_and_prompt_files(start, trained, tmp_path, tta):
    found = []
    for file in (newest(trained / 'work'), trained / 'work' / 'prompt.safetensors'):
        out = tmp_path / f'{file.suffix}.json'
        arguments = ('--work-dir', tmp_path, '--out', out, *(['--tta'] if tta else []))
        status, output = start('test', trained / 'config.py', file, *arguments, log=tmp_path / 'log')
        assert status == 0, output
        found.append(json.loads(out.read_text()))
    assert found[0] == found[1]
    assert found[0]['mIoU'] > 0


def test_tta_needs_a_config_of_it(start, trained, data, tmp_path):
    config = seg_config(tmp_path, data)
    config.pop('tta_model')
    config.dump(str(tmp_path / 'config.py'))
    file = trained / 'work' / 'prompt.safetensors'
    status, output = start('test', tmp_path / 'config.py', file, '--tta', log=tmp_path / 'log')
    assert status == 1
    assert output.strip().endswith('has no tta_model and tta_pipeline')


def test_predict_draws_overlays(start, trained, data, tmp_path):
    photographs = tmp_path / 'photographs'
    photographs.mkdir()
    Image.open(data / 'images' / 'validation' / '0.png').resize((50, 41)).save(photographs / 'odd.jpg')
    arguments = (
        trained / 'config.py',
        trained / 'work' / 'prompt.safetensors',
        photographs,
        '--out-dir',
        tmp_path / 'out',
    )
    status, output = start('predict', *arguments, log=tmp_path / 'log')
    assert status == 0, output
    labels = Image.open(tmp_path / 'out' / 'odd_labels.png')
    assert labels.size == (50, 41) and labels.mode == 'P'
    assert set(np.unique(labels)) <= set(range(4))
    drawn = Image.open(tmp_path / 'out' / 'odd.png')
    assert drawn.size[0] > 320 and drawn.size[1] == round(320 * 41 / 50)
    assert any(name in output for name in CLASSES)


def test_mmsegs_own_ways_to_a_prediction(trained, data, tmp_path):
    model = vptx.init_model(trained / 'config.py', trained / 'work' / 'prompt.safetensors')
    assert model.dataset_meta == dict(classes=list(CLASSES), palette=COLOURS.tolist())
    path = data / 'images' / 'validation' / '1.png'
    expected = inference_model(model, str(path)).pred_sem_seg.data[0].numpy()
    assert expected.shape == (32, 32)
    inferencer = SegInferencer(model, show_progress=False)
    assert np.array_equal(inferencer(str(path), out_dir=str(tmp_path))['predictions'], expected)
    assert (tmp_path / 'vis' / '1.png').is_file()
    assert inferencer.visualizer.dataset_meta['classes'] == list(CLASSES)
    (written,) = write_predictions(model, [path], tmp_path)
    assert sum(written[1].values()) == pytest.approx(1)
    assert np.array_equal(np.asarray(Image.open(tmp_path / '1_labels.png')), expected)


def test_photographs_of_one_name_are_kept_apart(trained, data, tmp_path):
    model = vptx.init_model(trained / 'config.py', trained / 'work' / 'prompt.safetensors')
    paths = [data / 'images' / split / '1.png' for split in ('training', 'validation')]
    assert len(list(write_predictions(model, paths, tmp_path))) == 2
    assert {path.name for path in tmp_path.iterdir()} == {'1.png', '1_labels.png', '1_.png', '1__labels.png'}


def test_the_pipeline_of_the_test_data_is_enough(trained, data):
    config = Config.fromfile(trained / 'config.py')
    assert 'test_pipeline' not in config or config.pop('test_pipeline')
    model = vptx.init_model(config, trained / 'work' / 'prompt.safetensors')
    path = data / 'images' / 'validation' / '1.png'
    ((_, image, labels),) = predict(model, [path])
    assert np.array_equal(image, np.asarray(Image.open(path).convert('RGB'))) and labels.shape == image.shape[:2]


def test_predicting_needs_names_and_images(trained, tmp_path):
    model = vptx.init_model(trained / 'config.py')
    with pytest.raises(ValueError, match='no class names'):
        list(write_predictions(model, [], tmp_path))
    (tmp_path / 'broken.png').write_text('text')
    model = vptx.init_model(trained / 'config.py', trained / 'work' / 'prompt.safetensors')
    with pytest.raises(ValueError, match=r'broken\.png cannot be read as an image'):
        list(write_predictions(model, [tmp_path / 'broken.png'], tmp_path))


def test_the_overlay_shows_what_is_there():
    labels = np.zeros((40, 60), int)
    labels[:, :20] = 3
    image = np.zeros((40, 60, 3), np.uint8)
    sheet = np.asarray(overlay(image, labels, CLASSES, COLOURS.tolist(), opacity=1.0))
    assert sheet.shape[0] == round(320 * 40 / 60) and sheet.shape[1] > 320
    assert tuple(sheet[100, 10]) == tuple(COLOURS[3]) and tuple(sheet[100, 300]) == tuple(COLOURS[0])
    assert (sheet[:, 330:] < 255).any()  # swatches and names


@pytest.mark.parametrize('where', ['decode_head', 'auxiliary_head.0'])
def test_a_head_with_another_number_of_classes_is_named(data, tmp_path, where):
    name = where.split('.')[0]
    changes = {f'model.{where}.num_classes': 5, 'experiment_name': where}
    config = seg_config(tmp_path, data)
    config.merge_from_dict(changes)
    with pytest.raises(ValueError, match=rf'TinySeg {data} has 4 classes, the {name} num_classes=5'):
        Runner.from_cfg(config).train()
