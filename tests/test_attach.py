import re
from copy import deepcopy

import pytest
import torch
from mmpretrain.models import ImageClassifier
from networks import WIDTH, images, tiny
from torch import nn

import vptx
from vptx.attach import find_hall
from vptx.backbones import take_apart
from vptx.prompted import PromptedBackbone, PromptedNetwork
from vptx.prompters import DeepPrompter

DEEP = dict(type='DeepPrompter', num_tokens=3)
HEAD = dict(type='LinearClsHead', num_classes=5, in_channels=WIDTH)


def classifier(backbone: nn.Module) -> ImageClassifier:
    return ImageClassifier(backbone, head=HEAD)


def test_a_bare_network_comes_back_in_a_hall():
    network = tiny()
    model = vptx.attach(network, DEEP)
    assert type(model) is PromptedNetwork
    assert model.net.model is network
    assert vptx.detach(model) is network


@pytest.mark.parametrize('own_hall', [False, True])
def test_a_classifier_is_changed_in_place_and_restored(own_hall):
    network = tiny()
    model = classifier(PromptedBackbone(take_apart(network)) if own_hall else network)
    model.head.requires_grad_(False)
    backbone, keys, flags = model.backbone, list(model.state_dict()), [p.requires_grad for p in model.parameters()]
    expected = deepcopy(model).eval().backbone(images())
    assert vptx.attach(model, DEEP, tune=['^head']) is model  # the network has a head of its own
    hall = find_hall(model)
    assert isinstance(hall.prompter, DeepPrompter)
    assert (hall is backbone) is own_hall
    assert model.extract_feat(images())[0].shape == (2, WIDTH)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {'head.fc.weight', 'head.fc.bias', *(f'backbone.prompter.embedding.rows.{i}' for i in range(3))}
    assert vptx.detach(model) is model
    assert model.backbone is backbone
    assert list(model.state_dict()) == keys
    assert [p.requires_grad for p in model.parameters()] == flags
    output = model.eval().backbone(images())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(output, expected, strict=True))


def test_the_readout_is_restored():
    model = classifier(PromptedBackbone(take_apart(tiny()), readout='cls'))
    vptx.attach(model, DEEP, readout='mean')
    assert model.backbone.readout == 'mean'
    vptx.detach(model)
    assert model.backbone.readout == 'cls'


def test_attach_again_after_detach():
    network = tiny()
    expected = network(images())
    for prompter in (DEEP, dict(type='AddedPrompter'), DEEP):
        network = vptx.detach(vptx.attach(network, prompter))
    assert torch.equal(network(images()), expected)


def test_without_prompter_it_tunes_and_prompts_nothing():
    model = vptx.attach(tiny(), tune=['head'])
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        'net.model.head.weight',
        'net.model.head.bias',
    }


def test_a_prompter_that_is_built_already():
    prompter = DeepPrompter(num_tokens=2)
    assert vptx.attach(tiny(), prompter).prompter is prompter


def test_prompts_go_where_the_network_is():
    model = vptx.attach(tiny().double().to('meta'), DEEP)
    assert {p.device.type for p in model.parameters()} == {'meta'}


def test_already_plugged():
    model = vptx.attach(tiny(), DEEP)
    with pytest.raises(ValueError, match=r'has a prompter plugged in already: vptx\.detach\(model\) it first'):
        vptx.attach(model, DEEP)
    assert isinstance(model.prompter, DeepPrompter)


def test_nothing_to_detach():
    for model in (tiny(), classifier(PromptedBackbone(take_apart(tiny())))):
        with pytest.raises(ValueError, match=r'(VisionTransformer|ImageClassifier) has no prompter plugged in'):
            vptx.detach(model)


def test_two_halls():
    model = nn.ModuleList([PromptedNetwork(take_apart(tiny())) for _ in range(2)])
    with pytest.raises(ValueError, match='ModuleList has 2 prompted networks; vptx plugs one'):
        vptx.attach(model, DEEP)


@pytest.mark.parametrize(
    'model', [nn.Linear(2, 2), ImageClassifier(dict(type='ResNet', depth=18))], ids=['bare', 'inside']
)
def test_a_model_of_no_known_kind(model):
    with pytest.raises(ValueError, match=r'no net takes a .*(Linear|ResNet) apart\. Known: .*TimmViT'):
        vptx.attach(model, DEEP)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(prompter=dict(type='Nothing')), "unknown prompter 'Nothing'"),
        (dict(prompter=dict(DEEP, num_tokens=0)), 'num_tokens must be'),
        (dict(prompter=dict(DEEP, layers=[3])), 'out of range'),
        (dict(prompter=DEEP, tune=['nothing']), 'matches no parameter'),
        (dict(prompter=DEEP, tune='head'), 'tune is a list'),
        (dict(prompter=DEEP, readout='nothing'), 'no such readout'),
        (dict(prompter=dict(type='AddedPrompter'), readout='prompts'), 'no prompt tokens are left'),
    ],
    ids=str,
)
@pytest.mark.parametrize('inside', [False, True], ids=['bare', 'inside'])
def test_what_is_refused_changes_nothing(arguments, message, inside):
    network = tiny()
    model = classifier(network) if inside else network
    network.norm.requires_grad_(False)
    model.train()
    flags, keys = [p.requires_grad for p in model.parameters()], list(model.state_dict())
    expected = deepcopy(network).eval()(images())
    with pytest.raises(ValueError, match=re.escape(message)):
        vptx.attach(model, **arguments)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert list(model.state_dict()) == keys
    assert all(module.training for module in model.modules())
    assert not inside or model.backbone is network
    assert torch.equal(network.eval()(images()), expected)


def test_print_trainable_parameters_is_at_hand(capsys):
    vptx.print_trainable_parameters(vptx.attach(tiny(), DEEP))
    assert capsys.readouterr().out.startswith('trainable params: 288 || all params: ')


@pytest.mark.parametrize('prompter', ['DeepPrompter', DeepPrompter])
def test_a_prompter_by_its_name_or_class_alone(prompter):
    network = tiny()
    with pytest.raises(TypeError, match=r"a prompter is described by .*: write dict\(type='DeepPrompter'\)"):
        vptx.attach(network, prompter)
    assert isinstance(vptx.attach(network, DEEP).prompter, DeepPrompter)  # nothing is left of the first


def test_a_model_by_its_name():
    with pytest.raises(TypeError, match=r"attach takes a model that is built, .* not 'vit_tiny_patch16_224'"):
        vptx.attach('vit_tiny_patch16_224', DEEP)
