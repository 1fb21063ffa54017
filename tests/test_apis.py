"""A trained model back from its config and its prompt file."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain import ImageClassificationInferencer
from runs import CLASSES, hook, net, newest, runner, write_config, write_weights

import vptx
from vptx.attach import find_prompted_network


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A finished run: its Runner, its config file, its folder."""
    folder = tmp_path_factory.mktemp('trained')
    changes = {
        'model.backbone.net': net(weights=str(write_weights(folder / 'weights.pth'))),
        'train_cfg.max_epochs': 12,
        'test_dataloader.dataset.pipeline': [
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=16),
            dict(type='PackInputs'),
        ],
    }
    run = runner(folder, **changes)
    run.train()
    return run, write_config(folder / 'config.py', folder, **changes), folder


IMAGES = {name: np.full((32, 32, 3), value, np.uint8) for name, value in (('bright', 20), ('dark', 220))}


@pytest.mark.parametrize('file', ['prompt.safetensors', 'epoch_12.pth'])
@pytest.mark.parametrize('kind', ['path', 'text', 'config'])
def test_it_is_the_trained_model(trained, file, kind):
    run, config, folder = trained
    config = dict(path=config, text=str(config), config=Config.fromfile(config))[kind]
    model = vptx.init_model(config, folder / file)
    assert not model.training
    ours, theirs = model.state_dict(), run.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_inferencer_of_mmpretrain_takes_it(trained):
    _, config, folder = trained
    inferencer = ImageClassificationInferencer(vptx.init_model(config, folder / 'prompt.safetensors'))
    results = inferencer(list(IMAGES.values()))
    # The classes have odd names: 'bright' is the darker one.
    assert [result['pred_class'] for result in results] == ['bright', 'dark']
    assert inferencer.classes == list(CLASSES)


def test_the_inferencer_takes_a_folded_one(trained):
    _, config, folder = trained
    model = vptx.init_model(config, folder / 'prompt.safetensors')
    expected = ImageClassificationInferencer(model)(IMAGES['dark'])[0]['pred_scores']
    found = ImageClassificationInferencer(vptx.fold(model))(IMAGES['dark'])[0]['pred_scores']
    np.testing.assert_array_equal(found, expected)


def test_without_a_prompt_file(trained):
    """Prompts and head as they were drawn; classes have no names then."""
    _, config, _ = trained
    model = vptx.init_model(config)
    assert find_prompted_network(model).attach_state is not None
    (result,) = ImageClassificationInferencer(model)(IMAGES['dark'])
    assert 'pred_class' not in result


def test_missing_files(trained, tmp_path):
    _, config, _ = trained
    with pytest.raises(FileNotFoundError, match=r'none\.py'):
        vptx.init_model(tmp_path / 'none.py')
    with pytest.raises(FileNotFoundError, match=r'none\.safetensors'):
        vptx.init_model(config, tmp_path / 'none.safetensors')


def test_a_prompt_file_of_another_run(trained, tmp_path):
    _, config, folder = trained
    other = Config.fromfile(config)
    other.custom_hooks = [hook(dict(type='DeepPrompter', num_tokens=7))]
    with pytest.raises(ValueError, match=r'prompt\.safetensors does not fit this model'):
        vptx.init_model(other, folder / 'prompt.safetensors')


def test_a_run_whose_frozen_weights_were_never_saved(tmp_path):
    """Random frozen weights are drawn anew: the fingerprint tells."""
    runner(tmp_path).train()
    torch.manual_seed(99)
    with pytest.raises(ValueError, match='was trained on other frozen weights of vit_mini_patch8_64'):
        vptx.init_model(write_config(tmp_path / 'config.py', tmp_path), newest(tmp_path))


def test_a_config_without_prompts(tmp_path):
    """A model that was trained whole: nothing to plug."""
    model = vptx.init_model(write_config(tmp_path / 'config.py', tmp_path, hooks=[]))
    assert find_prompted_network(model).attach_state is None


def test_the_hook_may_be_named_as_a_class_or_with_its_scope(trained):
    _, config, folder = trained
    for kind in (vptx.hooks.PromptTuningHook, 'mmengine.PromptTuningHook'):
        named = Config.fromfile(config)
        named.custom_hooks[0].type = kind
        assert find_prompted_network(vptx.init_model(named, folder / 'prompt.safetensors')).attach_state is not None


@pytest.mark.parametrize(('field', 'change'), [('prompter', dict(type='Nothing')), ('tune', ['nothing'])])
def test_a_config_that_cannot_be(trained, field, change):
    _, config, _ = trained
    wrong = Config.fromfile(config)
    wrong.custom_hooks[0][field] = change
    with pytest.raises(ValueError, match='othing'):
        vptx.init_model(wrong)
