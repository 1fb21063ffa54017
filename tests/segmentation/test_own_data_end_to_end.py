"""The tools on images and masks of one's own, by config alone, as a user runs them."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from segruns import write_masks

import vptx
from vptx.segmentation import colours, dataset_meta, write_predictions

MINI = Path(__file__).parents[2] / 'configs' / 'seg' / 'mini_custom_masks.py'
PALETTE = [[10, 20, 30], [220, 40, 40]]
LABELS = {0: 'ground', 255: 'disc'}
ONE_LOGIT = dict(out_channels=1, threshold=0.5, loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True))


def own_config(folder: Path, **changes) -> Config:
    """The small config for data of one's own, on rectangles, with 255 in their masks; 30 iterations."""
    write_masks(folder / 'data', labels=(0, 255), number=8, size=(96, 80))
    config = Config.fromfile(MINI)
    for name in ('train', 'val', 'test'):
        own = dict(data_root=str(folder / 'data'), classes=('ground', 'disc'), labels=LABELS, palette=PALETTE)
        config[f'{name}_dataloader'].dataset.update(own)
    config.train_cfg.update(max_iters=30, val_interval=30)
    config.param_scheduler = [dict(type='CosineAnnealingLR', by_epoch=False, begin=0, end=30)]
    config.work_dir = str(folder / 'work')
    config.merge_from_dict(changes)
    return config


@pytest.fixture(scope='module', params=[False, True], ids=['two logits', 'one logit'])
def trained(request, start, tmp_path_factory):
    folder = tmp_path_factory.mktemp('own')
    changes = {f'model.decode_head.{key}': value for key, value in (ONE_LOGIT if request.param else {}).items()}
    own_config(folder, **changes).dump(str(folder / 'config.py'))
    status, output = start('train', folder / 'config.py', log=folder / 'log')
    assert status == 0, output
    return folder


def test_augmented_the_score_is_much_the_same(start, trained):
    scores = {}
    for arguments in ((), ('--tta',), ('--tta', '--cfg-options', 'model.most_logits=0')):
        out = trained / 'metrics.json'
        options = (trained / 'config.py', trained / 'work' / 'prompt.safetensors', '--out', out, *arguments)
        status, output = start('test', *options, log=trained / 'log')
        assert status == 0, output
        scores[arguments] = json.loads(out.read_text())['mIoU']
    plain, augmented, streamed = scores.values()
    assert plain > 85
    assert abs(plain - augmented) < 5
    assert abs(streamed - augmented) < 0.1


def test_predictions_have_the_configs_names_and_colours(start, trained, tmp_path):
    images = trained / 'data' / 'images' / 'test'
    arguments = (trained / 'config.py', trained / 'work' / 'prompt.safetensors', images, '--out-dir', tmp_path)
    status, output = start('predict', *arguments, log=trained / 'log')
    assert status == 0, output
    assert 'disc' in output
    found = Image.open(tmp_path / '0_labels.png')
    assert np.array_equal(np.array(found.getpalette())[:6].reshape(2, 3), PALETTE)
    mask = np.asarray(Image.open(trained / 'data' / 'masks' / 'test' / '0.png')) == 255
    assert (np.asarray(found) == mask).mean() > 0.95


def test_a_stock_data_set_keeps_its_colours_and_gets_some_without(trained):
    for palette, expected in ((PALETTE, PALETTE), (None, colours(2))):
        meta = dict(classes=('ground', 'disc'), **({'palette': palette} if palette else {}))
        config = Config.fromfile(trained / 'config.py')
        config.test_dataloader.dataset = dict(type='BaseSegDataset', metainfo=meta)
        model = vptx.init_model(config, trained / 'work' / 'prompt.safetensors')
        assert model.dataset_meta == dict(classes=['ground', 'disc'], palette=expected)
        assert list(write_predictions(model, [trained / 'data' / 'images' / 'test' / '1.jpg'], trained / 'out'))


def test_names_and_colours_of_a_config():
    classes = ['ground', 'disc']
    declared = dict(type='CustomMasks', palette=PALETTE)
    for data in (
        dict(declared, classes=classes),
        dict(declared, labels={0: 'ground', 1: None, 2: 'ground', 3: 'disc'}),
        dict(type='RepeatDataset', times=2, dataset=dict(declared, classes=classes)),
        dict(type='ConcatDataset', datasets=[dict(declared, classes=classes)]),
    ):
        assert dataset_meta(data, None) == dataset_meta(data, classes) == dict(classes=classes, palette=PALETTE)
    data = dict(declared, classes=classes)
    assert dataset_meta(data, classes[::-1])['palette'] == PALETTE[::-1]  # by name
    assert dataset_meta(data, ['other', 'disc'])['palette'] == colours(2)
    ade = dataset_meta(dict(type='ADE20KDataset', metainfo=dict(classes=('flag', 'sky'))), None)
    assert ade == dict(classes=['flag', 'sky'], palette=[[92, 0, 255], [6, 230, 230]])
    assert dataset_meta(None, None) == dataset_meta(dict(type='Unheard'), None) == {}
    assert dataset_meta(None, ['a']) == dict(classes=['a'], palette=colours(1))


def test_a_run_of_masks_with_one_class_ends_before_it_begins(tmp_path):
    config = own_config(tmp_path, experiment_name='one class')
    config.train_dataloader.dataset.labels = None
    runner = Runner.from_cfg(config)
    with pytest.raises(ValueError, match=r"masks hold 'ground', and the label 255.*labels={0: 'ground', 255: 'disc'}"):
        runner.train()
    assert runner.iter == 0
