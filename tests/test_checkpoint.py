"""The classes of a run's file are compared with those of the data by name, at every door."""

import json

import cv2
import numpy as np
import pytest
import torch
from runs import CLASSES, loader, net, newest, runner, tiny_config, write_config, write_weights

import vptx
import vptx.datasets  # registers CustomImages
from vptx.checkpoint import compare_classes
from vptx.prompt_file import ClassNames, read_prompt, write_prompt

OTHERS = {
    'another order': (
        ['dark', 'bright', 'striped'],
        'the same classes in another order: bright, dark, striped; dark, ',
    ),
    'another name': (['bright', 'dark', 'dotted'], 'other classes: the data have no striped, but dotted'),
}


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A run's folder, and what its config has beside the usual."""
    folder = tmp_path_factory.mktemp('trained')
    changes = {'model.backbone.net': net(weights=str(write_weights(folder / 'weights.pth')))}
    runner(folder / 'run', **changes, **{'default_hooks.checkpoint.max_keep_ckpts': -1}).train()
    return folder / 'run', changes


@pytest.mark.parametrize('file', ['prompt.safetensors', 'epoch_1.pth'])
@pytest.mark.parametrize('door', ['test', 'train', 'resume'])
@pytest.mark.parametrize('other', OTHERS)
def test_a_run_on_data_of_other_classes(trained, tmp_path, file, door, other):
    (folder, changes), (names, message) = trained, OTHERS[other]
    file = 'epoch_1.pth' if door == 'resume' else file
    split = 'test' if door == 'test' else 'train'
    data = {f'{split}_dataloader.dataset.classes': names}
    run = runner(tmp_path, load_from=str(folder / file), resume=door == 'resume', **changes, **data)
    with pytest.raises(ValueError, match=rf'^{folder / file} and the data set TinyImages name {message}.*set classes='):
        run.test() if door == 'test' else run.train()


def test_the_data_to_test_with_are_compared_with_those_of_training(tmp_path):
    run = runner(tmp_path, **{'test_dataloader.dataset.classes': ['dark', 'bright', 'striped']})
    run.train()
    with pytest.raises(
        ValueError, match='the data set TinyImages and the data set TinyImages name the same classes in'
    ):
        run.test()


@pytest.mark.parametrize('other', OTHERS)
def test_a_model_for_a_config_that_names_other_classes(trained, tmp_path, other):
    (folder, changes), names = trained, OTHERS[other][0]
    config = write_config(tmp_path / 'c.py', tmp_path, **changes, **{'test_dataloader.dataset.classes': names})
    with pytest.raises(
        ValueError, match=rf'^{folder}/prompt\.safetensors and the data set TinyImages of the config name'
    ):
        vptx.init_model(config, folder / 'prompt.safetensors')


def test_a_file_without_names_fits_any_data(trained, tmp_path):
    folder, changes = trained
    tensors, facts = read_prompt(folder / 'prompt.safetensors')
    write_prompt(tmp_path / 'p.safetensors', tensors, dict(facts, classes=[]))
    data = {'test_dataloader.dataset.classes': OTHERS['another name'][0]}
    assert runner(tmp_path / 'run', load_from=str(tmp_path / 'p.safetensors'), **changes, **data).test()


def test_a_long_list_of_names_is_cut():
    names = [str(number) for number in range(1000)]
    with pytest.raises(ValueError, match=r'8, 9 and 990 more|7 and 992 more') as error:
        compare_classes(ClassNames(tuple(names), 'a.pth'), names[::-1], 'the data set B')
    assert len(str(error.value)) < 400


def test_averages_of_another_model_are_refused(trained, tmp_path):
    _, changes = trained
    hooks = {'hooks': [*tiny_config(tmp_path)['custom_hooks'], dict(type='EMAHook')]}
    runner(tmp_path / 'ema', **changes, **hooks).train()
    found = vptx.files.safe_load(newest(tmp_path / 'ema'))
    for change, message in (
        (dict(ema_state_dict=3), 'a int is no state of a model'),
        (dict(ema_state_dict={'module.nothing': torch.ones(1)}), r'module\.nothing is no tensor of this model'),
        (
            dict(ema_state_dict={**found['ema_state_dict'], 'module.head.fc.bias': torch.full((3,), torch.nan)}),
            r'holds values of module\.head\.fc\.bias that are NaN',
        ),
    ):
        torch.save({**found, **change}, tmp_path / 'p.pth')
        run = runner(tmp_path / 'run', load_from=str(tmp_path / 'p.pth'), resume=True, **changes, **hooks)
        with pytest.raises(ValueError, match=rf'^{tmp_path}/p\.pth, averaged: .*{message}'):
            run.train()


def own_images(folder, splits) -> dict:
    """Folders of images, and loaders of them."""
    for split, number in splits.items():
        for label, name in enumerate(CLASSES):
            (folder / split / name).mkdir(parents=True)
            for index in range(number):
                image = np.full((16, 16, 3), (20, 200, 110)[label] + index, np.uint8)
                cv2.imwrite(str(folder / split / name / f'{index}.png'), image)
    found = {}
    for split in ('train', 'val', 'test'):
        made = loader(split == 'train', pipeline=[dict(type='LoadImageFromFile')])
        made['dataset'].update(type='CustomImages', data_root=str(folder), split=split, _delete_=True)
        found[f'{split}_dataloader'] = made
    return found


def test_a_test_needs_no_images_to_train_on(trained, tmp_path, start):
    _, changes = trained
    data = own_images(tmp_path / 'data', dict(train=8, val=2, test=3))
    runner(tmp_path / 'run', **changes, **data).train()
    there = own_images(tmp_path / 'there', dict(test=3))
    config = write_config(tmp_path / 'there.py', tmp_path / 'work', **changes, **there)
    for name in ('prompt.safetensors', 'epoch_2.pth'):
        arguments = (config, tmp_path / 'run' / name, '--out', tmp_path / 'found.json')
        status, output = start('test', *arguments, log=tmp_path / 'log')
        assert status == 0, output
        assert json.loads((tmp_path / 'found.json').read_text())['accuracy/top1'] > 0
    (tmp_path / 'there' / 'test' / 'dark').rename(tmp_path / 'there' / 'test' / 'dusky')
    status, output = start('test', config, tmp_path / 'run' / 'prompt.safetensors', log=tmp_path / 'log')
    assert status == 1 and "has the class 'dusky'" in output
