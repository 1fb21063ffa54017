"""Backbones of mmpretrain and mmsegmentation that are called in one piece."""

from copy import deepcopy

import pytest
import torch
from backbones.test_openmmlab_nets import Around, assert_equal, flat
from mmengine.registry import DefaultScope
from mmpretrain.models import ImageClassifier
from networks import SIZE, WHOLE, images, tiny, wrapped
from torch import nn

import vptx
from vptx.backbones import OpenMMLabBackbone, wrap_backbone
from vptx.prompted import PromptedBackbone
from vptx.registry import MODELS

BORDER = dict(type='BorderPrompter', width=4)
every_backbone = pytest.mark.parametrize('name', WHOLE)


@every_backbone
@pytest.mark.parametrize('training', [False, True])
def test_without_a_prompter_it_is_the_librarys(name, training):
    model, image = tiny(name), images(3)
    prompted = PromptedBackbone(wrap_backbone(deepcopy(model)))
    assert type(prompted.net) is OpenMMLabBackbone
    outputs = []
    for run in (model, prompted):
        run.train(training)
        torch.manual_seed(0)
        outputs.append(flat(run(image)))
    assert_equal(*outputs)


@every_backbone
def test_pixels_change_its_own_tuple(name):
    backbone, image = tiny(name), images()
    expected, state = flat(backbone(image)), deepcopy(backbone.state_dict())
    model = vptx.attach(Around(backbone), BORDER)
    for parameter in model.backbone.prompter.parameters():
        nn.init.normal_(parameter)
    found = flat(model.train().backbone(image))
    assert [t.shape for t in found] == [t.shape for t in expected] and not torch.equal(found[-1], expected[-1])
    sum(tensor.square().sum() for tensor in found).backward()
    assert all(p.grad.any() for p in model.backbone.prompter.parameters())
    assert flat(model.backbone(images(0)))[0].shape == (0, *expected[0].shape[1:])
    assert vptx.detach(model).backbone is backbone
    assert list(backbone.state_dict()) == list(state)
    backbone.eval()
    assert_equal(flat(backbone(image)), expected)


def test_neck_and_head_take_what_it_gives():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=dict(type='TIMMBackbone', model_name='test_resnet'),
                neck=dict(type='GlobalAveragePooling'),
                head=dict(type='LinearClsHead', num_classes=3, in_channels=96),
                data_preprocessor=dict(mean=[127.5] * 3, std=[127.5] * 3),
            )
        )
    assert isinstance(model, ImageClassifier)
    model = vptx.attach(model, BORDER, tune=['head']).eval()
    assert model.backbone.net.geometry.mean == (0.5,) * 3
    assert model(images(size=(224, 224)), mode='tensor').shape == (2, 3)


def test_the_size_of_the_images_is_that_of_the_preprocessor():
    model = Around(tiny('mmseg resnet'))
    del model.backbone.img_size
    model.data_preprocessor.size = (64, 96)
    assert vptx.attach(model, BORDER).backbone.net.geometry.image == (64, 96)


def test_prompts_among_tokens_are_refused_with_the_reason():
    with pytest.raises(
        ValueError, match=r'DeepPrompter enters by tokens, but mmseg\.ResNetV1c has no door tokens, only image'
    ):
        vptx.attach(Around(tiny('mmseg resnet')), dict(type='DeepPrompter'))
    with pytest.raises(
        ValueError, match=r'has no door tokens, .* It is of the family of MMPretrainViT, but has its own for'
    ):
        vptx.attach(Around(tiny('mmpretrain distilled vit')), dict(type='DeepPrompter'))
    with pytest.raises(
        ValueError, match="OpenMMLabBackbone wraps mmpretrain's and mmsegmentation's backbones, not Linear"
    ):
        OpenMMLabBackbone(nn.Linear(2, 2))
    assert wrapped('mmpretrain resnet').geometry.image == (SIZE, SIZE)
