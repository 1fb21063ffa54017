"""Tip-Adapter in real runs."""

from copy import deepcopy

import pytest
import runs
import torch
from clips import DEPTH, EMBED, prompted, tiny_clip
from mmengine.config import Config
from mmengine.dataset import sampler
from safetensors.torch import save_file
from torch.nn.functional import normalize

import vptx
from vptx.attach import find_prompted_network
from vptx.hooks import TipAdapterHook, tip_adapter_hook


@pytest.fixture
def changes(tmp_path):
    weights = tmp_path / 'clip.safetensors'
    save_file({name: tensor.contiguous() for name, tensor in tiny_clip().state_dict().items()}, weights)
    vit = runs.write_weights(tmp_path / 'vit.pth', num_classes=EMBED)

    def make(number=24, **options):
        tower = dict(width=32, heads=2, layers=DEPTH, embed=EMBED, pretrained=str(weights))
        mapping = dict(type='TipAdapterHead', num_images=number, tower=tower, classes=list(runs.CLASSES), **options)
        return {
            'model.head': dict(_delete_=True, type='ClsHead', loss=dict(type='CrossEntropyLoss')),
            'model.backbone.net': runs.net(num_classes=EMBED, weights=str(vit)),
            'train_dataloader': runs.loader(True, [dict(type='RandomFlip', prob=0.5)]),
            'val_dataloader.dataset.number': 9,
            'hooks': [dict(type='PromptTuningHook', mapping=mapping)],
        }

    return make


def test_filled_before_training_and_not_again(changes, tmp_path):
    run = runs.runner(tmp_path / 'work', **changes())
    run.train()
    head = find_prompted_network(run.model).mapping
    assert head.ready and head.labels.tolist() == [i % 3 for i in range(24)]
    torch.testing.assert_close(head.keys.norm(dim=1), torch.ones(24))
    same = normalize(head.keys, dim=1) @ normalize(head.keys, dim=1).T
    own = [same[i, i % 3 :: 3].mean() for i in range(24)]
    assert min(own) > same.mean()  # images of one class are alike
    assert run.test()['accuracy/top1'] > 60
    path = runs.newest(tmp_path / 'work')
    config = Config(runs.tiny_config(tmp_path / 'work', **deepcopy(changes())))
    model = vptx.init_model(config, path)
    assert torch.equal(find_prompted_network(model).mapping.keys, head.keys)


def test_of_two_processes_each_embeds_its_own_images(changes, tmp_path, monkeypatch):
    """The sum over both, which all of them get, is what one process alone finds."""
    options = changes(number=5)
    options['train_dataloader'] = runs.loader(True, number=5)
    run = runs.runner(tmp_path / 'work', **options)
    run.train()
    prompted = find_prompted_network(run.model)
    whole = TipAdapterHook._gather(run, prompted, 'train')
    parts = []
    for rank in (0, 1):
        for module, name, value in [
            (tip_adapter_hook, 'get_rank', lambda rank=rank: rank),
            (tip_adapter_hook, 'get_world_size', lambda: 2),
            (sampler, 'get_dist_info', lambda rank=rank: (rank, 2)),
        ]:
            monkeypatch.setattr(module, name, value)
        parts.append(TipAdapterHook._gather(run, prompted, 'train'))
    assert (parts[0][0][1::2] == 0).all() and (parts[1][0][::2] == 0).all()
    for first, second, both in zip(*parts, whole, strict=True):
        torch.testing.assert_close(first + second, both, rtol=1e-5, atol=1e-6)


def test_keys_train(changes, tmp_path):
    run = runs.runner(tmp_path / 'work', **changes(train_keys=True, epochs=2, search=False))
    keys = []
    call = run.call_hook

    def noted(name, **arguments):
        if name == 'before_train_epoch':
            keys.append(find_prompted_network(run.model).mapping.keys.detach().clone())
        call(name, **arguments)

    run.call_hook = noted
    run.train()
    head = find_prompted_network(run.model).mapping
    assert not torch.equal(keys[0], keys[1]) and (head.alpha, head.beta) == (1, 5.5)


def test_alpha_and_beta_are_not_chosen_on_test_images(changes, tmp_path):
    options = changes()
    options['test_dataloader.dataset.number'] = 9
    run = runs.runner(tmp_path / 'work', **options)
    with pytest.raises(ValueError, match='alpha and beta would be chosen on the test images'):
        run.train()


def test_alpha_and_beta_are_not_left_as_they_are_in_silence(changes, tmp_path, monkeypatch):
    options = changes(alpha=2.0)
    options.update(val_dataloader=None, val_evaluator=None, val_cfg=None)
    with pytest.raises(ValueError, match='no validation images to choose alpha and beta on: give a val_dataloader, or'):
        runs.runner(tmp_path / 'work', **deepcopy(options)).train()
    options['hooks'][0]['mapping']['search'] = False
    run = runs.runner(tmp_path / 'given', **options)
    run.train()
    assert find_prompted_network(run.model).mapping.alpha == 2
    model = prompted(type='TipAdapterHead')
    lines: list[str] = []
    monkeypatch.setattr(tip_adapter_hook, 'print_log', lambda line, *others: lines.append(line))
    vptx.fill_cache(model, [(torch.randn(3, 3, 16, 16), torch.arange(3))])
    assert lines == ['without validation images alpha=1 and beta=5.5 of TipAdapterHead stay as they were given']


@pytest.mark.parametrize('train_keys', [False, True])
def test_classes_and_their_number_of_images_are_those_of_the_data_and_of_the_file(changes, tmp_path, train_keys):
    options = changes()
    options['hooks'][0]['mapping'].update(classes=None, num_images=None, train_keys=train_keys)
    options['hooks'].append(dict(type='ClassNamesHook'))
    run = runs.runner(tmp_path / 'work', **deepcopy(options))
    run.train()
    head = find_prompted_network(run.model).mapping
    assert head.class_names == runs.CLASSES and head.keys.shape == (24, EMBED)
    optimised = sum(p.numel() for group in run.optim_wrapper.optimizer.param_groups for p in group['params'])
    assert optimised == (24 * EMBED if train_keys else 0)
    expected = run.test()
    path = runs.newest(tmp_path / 'work')
    model = vptx.init_model(Config(runs.tiny_config(tmp_path / 'work', **deepcopy(options))), path)
    assert model.dataset_meta['classes'] == list(runs.CLASSES)
    again = runs.runner(tmp_path / 'again', load_from=str(path), **deepcopy(options))
    assert again.test() == expected


def test_another_number_of_images(changes, tmp_path):
    run = runs.runner(tmp_path / 'work', **changes(number=23))
    with pytest.raises(ValueError, match=r'there are 24 training images, .* num_images=23: set num_images=24'):
        run.train()


def test_asked_before_it_is_filled(changes, tmp_path):
    config = Config(runs.tiny_config(tmp_path / 'work', **changes()))
    with pytest.raises(RuntimeError, match='has seen none yet'):
        vptx.init_model(config)(torch.zeros(1, 3, 16, 16))
    assert prompted().mapping.num_classes == 6
