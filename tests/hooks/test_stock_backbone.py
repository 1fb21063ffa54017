"""Runs on a stock model of mmpretrain, its frozen weights from a checkpoint such as a model zoo's."""

from argparse import Namespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from runs import differences, hook, interrupted, load, newest, runner, tiny_config, write_config

import vptx
from vptx.checkpoint import adopt
from vptx.configs import load_config, make_runner
from vptx.registry import MODELS

VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=32, num_layers=2, num_heads=2, feedforward_channels=64),
    img_size=16,
    patch_size=8,
)
HEAD = dict(type='VisionTransformerClsHead', num_classes=3, in_channels=32)


def stock(**backbone) -> dict:
    return {
        'model.backbone': dict(VIT, _delete_=True, **backbone),
        'model.head': dict(HEAD, _delete_=True),
        'hooks': [hook()],
    }


@pytest.fixture
def zoo(tmp_path):
    """A checkpoint of the same model with a head for other classes, as a model zoo has it."""
    torch.manual_seed(5)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(type='ImageClassifier', backbone=VIT, head=dict(HEAD, num_classes=11)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'zoo.pth')
    return tmp_path / 'zoo.pth', model.backbone.state_dict()


def frozen(run) -> dict:
    return dict(run.model.backbone.net.model.state_dict())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.update(state_dict=[1]), 'is no checkpoint'),
        (lambda c: c.update(state_dict={'bert.a': torch.zeros(1)}), 'holds no tensors of this backbone under the pref'),
        (lambda c: c['state_dict']['backbone.pos_embed'].fill_(torch.nan), 'values of pos_embed that are NaN'),
        (lambda c: c['state_dict'].update({'backbone.ln1.weight': torch.zeros(5)}), 'is of another backbone'),
        (lambda c: c['state_dict'].update({'backbone.ln1.weight': 3}), 'expected tensors by their names'),
    ],
)
def test_a_file_that_init_cfg_names_is_checked(tmp_path, zoo, change, message):
    path, _ = zoo
    found = torch.load(path)
    change(found)
    torch.save(found, path)
    start = dict(type='Pretrained', checkpoint=str(path), prefix='backbone.')
    with pytest.raises(ValueError, match=rf'zoo\.pth.* {message}'):
        runner(tmp_path / 'run', **stock(init_cfg=start)).train()


def test_what_init_cfg_does_not_find_is_told(tmp_path, zoo, monkeypatch):
    path, _ = zoo
    found = torch.load(path)
    found['state_dict']['backbone.other'] = found['state_dict'].pop('backbone.ln1.weight')
    torch.save(found, path)
    told = []
    monkeypatch.setattr('vptx.checkpoint.print_log', lambda text, *_: told.append(text))
    runner(
        tmp_path / 'run', **stock(init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.'))
    ).train()
    assert f'{path}: it lacks ln1.weight; it has, without a place for it, other' in told


@pytest.mark.parametrize('way', ['load_from', 'init_cfg'])
def test_a_model_zoos_checkpoint(tmp_path, zoo, way):
    path, expected = zoo
    pretrained = dict(init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.'))
    changes = dict(stock(), load_from=str(path)) if way == 'load_from' else stock(**pretrained)
    run = runner(tmp_path / 'run', **changes)
    run.train()
    assert not differences(frozen(run), dict(expected))
    saved = load(newest(tmp_path / 'run'))['state_dict']
    assert set(saved) == {f'backbone.prompter.embedding.rows.{i}' for i in range(2)} | {
        'head.layers.head.weight',
        'head.layers.head.bias',
    }
    config = Config(tiny_config(tmp_path / 'run', **changes))
    model = vptx.init_model(config, tmp_path / 'run' / 'prompt.safetensors')
    assert not differences(model.state_dict(), run.model.state_dict())


def test_it_resumes_bit_equal_with_its_frozen_weights(tmp_path, zoo):
    changes = dict(stock(), load_from=str(zoo[0]))
    interrupted(tmp_path / 'run', 5, **changes)
    run = runner(tmp_path / 'run', **dict(changes, load_from=None, frozen_from=str(zoo[0])), resume=True)
    run.train()
    straight = runner(tmp_path / 'straight', **changes)
    straight.train()
    assert not differences(frozen(run), dict(zoo[1]))
    assert run.epoch == 2
    ours, theirs = (load(newest(tmp_path / name)) for name in ('run', 'straight'))
    for key in ('state_dict', 'optimizer', 'param_schedulers'):
        assert ours[key] and not differences(ours[key], theirs[key], key)


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (lambda s: s.pop('backbone.ln1.weight'), r'is of another backbone: it lacks ln1\.weight'),
        (lambda s: s.update({'backbone.layers.2.ln1.weight': torch.ones(32)}), 'has, without a place for it, layers.2'),
        (lambda s: s.update({'backbone.ln1.weight': torch.ones(31)}), 'is of another backbone: .*size mismatch'),
        (lambda s: [s.pop(name) for name in list(s) if name.startswith('backbone')], 'holds no backbone'),
    ],
    ids=['lacking', 'too deep', 'too wide', 'no backbone'],
)
def test_a_checkpoint_of_another_backbone(tmp_path, zoo, spoil, message):
    found = torch.load(zoo[0], weights_only=True)
    spoil(found['state_dict'])
    torch.save(found, tmp_path / 'spoilt.pth')
    with pytest.raises(ValueError, match=f'(?s)spoilt.pth.*{message}'):
        runner(tmp_path / 'run', **stock(), load_from=str(tmp_path / 'spoilt.pth')).train()


def test_a_files_word_is_not_taken_for_where_frozen_weights_are(tmp_path, zoo, monkeypatch):
    """Whatever a prompt file names is neither opened nor downloaded; the config has to name it, too."""
    runner(tmp_path / 'run', **stock(), load_from=str(zoo[0])).train()
    prompt, opened, load = tmp_path / 'run' / 'prompt.safetensors', [], vptx.files.safe_load
    monkeypatch.setattr('vptx.openmmlab.safe_load', lambda path, *_: opened.append(str(path)) or load(path))
    run = runner(tmp_path / 'test', **stock(), load_from=str(prompt))
    with pytest.raises(ValueError, match=rf"^{prompt} was trained on other .*set frozen_from='{zoo[0]}' in the config"):
        run.test()
    assert not opened
    named = runner(tmp_path / 'named', **stock(), load_from=str(prompt), frozen_from=str(zoo[0]))
    named.test()
    assert opened == [str(zoo[0])] and not differences(frozen(named), dict(zoo[1]))


def test_a_model_is_left_as_it_was_by_a_checkpoint_that_is_refused(tmp_path, zoo):
    found = torch.load(zoo[0], weights_only=True)
    found['state_dict']['backbone.layers.9.ln1.weight'] = torch.ones(32)
    torch.save(found, tmp_path / 'spoilt.pth')
    model = vptx.init_model(Config(tiny_config(tmp_path, **stock())))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match='without a place for it'):
        adopt(model, found, 'spoilt.pth')
    assert not differences(dict(model.state_dict()), before) and not model.backbone.frozen_from


@pytest.mark.parametrize('value', [torch.nan, torch.inf])
def test_a_model_zoos_numbers_that_are_none(tmp_path, zoo, value):
    found = torch.load(zoo[0], weights_only=True)
    found['state_dict']['backbone.ln1.weight'][3] = value
    torch.save(found, tmp_path / 'spoilt.pth')
    with pytest.raises(ValueError, match=r'^\S+spoilt\.pth holds values of ln1\.weight that are NaN'):
        runner(tmp_path / 'run', **stock(), load_from=str(tmp_path / 'spoilt.pth')).train()


def test_the_tools_keep_the_name_of_the_frozen_weights(tmp_path, zoo):
    config = write_config(tmp_path / 'config.py', tmp_path / 'run', **stock(), load_from=str(zoo[0]))
    asked = dict(config=str(config), work_dir=None, cfg_options={}, launcher='none')
    make_runner(load_config(Namespace(**asked))).train()
    found = load_config(Namespace(**asked, checkpoint=str(tmp_path / 'run' / 'prompt.safetensors')))
    assert found.frozen_from == str(zoo[0])
    assert make_runner(found).test()['accuracy/top1'] >= 0
    resumed = load_config(Namespace(**asked, resume='auto'))
    assert resumed.resume and resumed.frozen_from == str(zoo[0])
    assert vptx.init_model(resumed, tmp_path / 'run' / 'prompt.safetensors').backbone.frozen_from == str(zoo[0])


@MODELS.register_module(force=True)
class Encoded(ImageClassifier):
    """Of a user, who calls the backbone of a classifier ``encoder``, and another part ``neighbour``."""

    backbone = property(lambda self: self.part.encoder)

    def __init__(self, encoder: dict, **others) -> None:
        super().__init__(backbone=encoder, **others)
        self.part = torch.nn.ModuleDict(dict(encoder=self._modules.pop('backbone'), neighbour=torch.nn.Dropout(0.5)))

    def loss(self, *arguments, **options) -> dict:
        self.modes = self.part.neighbour.training, self.part.encoder.net.training
        return super().loss(*arguments, **options)


def test_a_part_of_another_name(tmp_path, zoo):
    """Its frozen weights from a checkpoint with that name."""
    checkpoint = torch.load(zoo[0])
    names = {name: name.replace('backbone.', 'part.encoder.') for name in checkpoint['state_dict']}
    checkpoint['state_dict'] = {names[name]: value for name, value in checkpoint['state_dict'].items()}
    torch.save(checkpoint, tmp_path / 'named.pth')
    model = dict(
        _delete_=True,
        type='Encoded',
        encoder=VIT,
        head=HEAD,
        data_preprocessor=dict(num_classes=3, mean=[127.5] * 3, std=[127.5] * 3),
    )
    changes = dict(model=model, hooks=[hook(part='part.encoder')], load_from=str(tmp_path / 'named.pth'))
    run = runner(tmp_path / 'run', **changes)
    run.train()
    prompted = run.model.part.encoder
    assert not differences(dict(prompted.net.model.state_dict()), dict(zoo[1]))
    assert run.model.modes == (True, False)  # of what is beside the frozen network, and of that one
    saved = load(newest(tmp_path / 'run'))['state_dict']
    assert {name for name in saved if 'head' not in name} == {
        f'part.encoder.prompter.embedding.rows.{i}' for i in (0, 1)
    }
    model = vptx.init_model(Config(tiny_config(tmp_path / 'run', **changes)), tmp_path / 'run' / 'prompt.safetensors')
    assert not differences(model.state_dict(), run.model.state_dict())
