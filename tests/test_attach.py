import re
from copy import deepcopy

import pytest
import torch
from mmpretrain.models import ImageClassifier
from networks import WIDTH, images, tiny
from torch import nn

import vptx
from vptx.attach import find_prompted_network
from vptx.backbones import wrap_backbone
from vptx.prompted import PromptedBackbone, PromptedNetwork
from vptx.prompters import DeepPrompter

DEEP = dict(type='DeepPrompter', num_tokens=3)
HEAD = dict(type='LinearClsHead', num_classes=5, in_channels=WIDTH)


def classifier(backbone: nn.Module) -> ImageClassifier:
    return ImageClassifier(backbone, head=HEAD)


def test_a_bare_network_comes_back_prompted():
    network = tiny()
    model = vptx.attach(network, DEEP)
    assert type(model) is PromptedNetwork
    assert model.net.model is network
    assert vptx.detach(model) is network


@pytest.mark.parametrize('own_network', [False, True])
def test_a_classifier_is_changed_in_place_and_restored(own_network):
    network = tiny()
    model = classifier(PromptedBackbone(wrap_backbone(network)) if own_network else network)
    model.head.requires_grad_(False)
    backbone, keys, flags = model.backbone, list(model.state_dict()), [p.requires_grad for p in model.parameters()]
    expected = deepcopy(model).eval().backbone(images())
    assert vptx.attach(model, DEEP, tune=['^head']) is model  # the network has a head of its own
    prompted = find_prompted_network(model)
    assert isinstance(prompted.prompter, DeepPrompter)
    assert (prompted is backbone) is own_network
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
    model = classifier(PromptedBackbone(wrap_backbone(tiny()), readout='cls'))
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


def test_already_attached():
    model = vptx.attach(tiny(), DEEP)
    with pytest.raises(ValueError, match=r'already has a prompter: vptx\.detach\(model\) it first'):
        vptx.attach(model, DEEP)
    assert isinstance(model.prompter, DeepPrompter)


def test_nothing_to_detach():
    for model in (tiny(), classifier(PromptedBackbone(wrap_backbone(tiny())))):
        with pytest.raises(ValueError, match=r'(VisionTransformer|ImageClassifier) has no prompter'):
            vptx.detach(model)


def test_two_prompted_networks():
    model = nn.ModuleList([PromptedNetwork(wrap_backbone(tiny())) for _ in range(2)])
    with pytest.raises(ValueError, match='ModuleList has 2 prompted networks; expected at most one'):
        vptx.attach(model, DEEP)


@pytest.mark.parametrize('inside', [False, True])
def test_a_model_of_no_known_kind(inside):
    model = nn.Linear(2, 2)
    if inside:
        model = ImageClassifier(dict(type='ResNet', depth=18))
        model.backbone = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r'no backbone wrapper supports .*Linear\. Available wrappers: .*TimmViT'):
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


class Mine(nn.Module):
    """Of a user: an encoder and a head."""

    def __init__(self, encoder: nn.Module | None = None, name: str = 'encoder') -> None:
        super().__init__()
        self.name = name
        setattr(self, name, tiny() if encoder is None else encoder)
        self.head = nn.Linear(7, 5)

    def forward(self, image):
        return self.head(getattr(self, self.name)(image))


WRAPPERS = {
    'compiled': lambda model: torch.compile(model, backend='eager'),
    'parallel': nn.DataParallel,
    'sequential': nn.Sequential,
    'of a user': Mine,
    'compiled inside': lambda model: Mine(torch.compile(model, backend='eager')),
}


@pytest.mark.parametrize('wrap', WRAPPERS.values(), ids=WRAPPERS)
def test_detach_through_a_wrapper(wrap):
    torch.compiler.reset()
    network = tiny()
    model = wrap(vptx.attach(network, DEEP)).eval()
    with torch.no_grad():
        model(images())
        torch.manual_seed(0)
        back = vptx.detach(model)
        assert back is model
        assert find_prompted_network(back) is None
        names = {name.removeprefix('_orig_mod.') for name in back.state_dict()}
        assert not any('prompter' in name or name.startswith('backbone') for name in names)
        expected = network(images())
        found = back(images())
        assert torch.equal(found, back.head(expected) if isinstance(back, Mine) else expected)


@pytest.mark.parametrize('wrap', WRAPPERS.values(), ids=WRAPPERS)
def test_attach_and_detach_inside_a_wrapper(wrap):
    """The wrapper was there first."""
    torch.compiler.reset()
    network = tiny()
    model = wrap(network).eval()
    at = next(name for name, module in model.named_modules() if module is network)
    with torch.no_grad():
        before = model(images())
        assert vptx.attach(model, dict(type='ShallowPrompter', num_tokens=3), at=at) is model
        assert model.get_submodule(at) is find_prompted_network(model)
        assert not torch.allclose(model(images()), before)
        assert vptx.detach(model) is model
        assert model.get_submodule(at) is network
        assert torch.equal(model(images()), before)


def test_distributed_data_parallel_is_refused():
    kind = nn.parallel.DistributedDataParallel
    exchanging = kind.__new__(kind)  # as it is once processes have met
    nn.Module.__init__(exchanging)
    exchanging.module = tiny()
    with pytest.raises(ValueError, match=r'attach or detach the model inside \(model\.module\)'):
        vptx.attach(exchanging, DEEP, at='module')
    assert find_prompted_network(exchanging) is None
    exchanging.module = vptx.attach(exchanging.module, DEEP)
    with pytest.raises(ValueError, match=r'attach or detach the model inside \(model\.module\)'):
        vptx.detach(exchanging)
    assert isinstance(find_prompted_network(exchanging).prompter, DeepPrompter)


@pytest.mark.parametrize('name', ['encoder', 'backbone'])
def test_a_part_of_a_users_module_returns_what_it_returned(name):
    model = Mine(name=name).eval()
    expected, part = model(images()), getattr(model, name)
    assert vptx.attach(model, tune=['^head'], at=name) is model
    assert torch.equal(model(images()), expected)
    vptx.detach(model)
    assert getattr(model, name) is part
    vptx.attach(model, DEEP, tune=['^head'], at=name)
    assert model(images()).shape == (2, 5)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert trained == {'head.weight', 'head.bias', *(f'{name}.prompter.embedding.rows.{i}' for i in range(3))}
    assert not getattr(model, name).net.model.training


def test_a_backbone_is_found_without_being_named():
    assert isinstance(find_prompted_network(vptx.attach(Mine(name='backbone'), DEEP)), PromptedNetwork)


def test_a_part_deep_inside_of_openmmlab_gives_a_tuple():
    model = nn.ModuleDict(dict(student=classifier(tiny())))
    vptx.attach(model, DEEP, at='student.backbone')
    assert type(model['student'].backbone) is PromptedBackbone
    assert model['student'].extract_feat(images())[0].shape == (2, WIDTH)


def test_a_network_that_is_there_twice_is_prompted_twice():
    model = nn.ModuleDict(dict(encoder=tiny()))
    model['again'] = model['encoder']
    vptx.attach(model, DEEP, at='encoder')
    assert model['again'] is model['encoder'] is find_prompted_network(model)
    vptx.detach(model)
    assert model['again'] is model['encoder']
    assert find_prompted_network(model) is None


@pytest.mark.parametrize(
    ('at', 'message'),
    [
        ('encodr', "at='encodr' names no module of Mine. Nearest: encoder"),
        ('head', 'no backbone wrapper supports torch.nn.modules.linear.Linear'),
        ('', "It holds one that can be prompted: at='encoder'"),
        (None, "It holds one that can be prompted: at='encoder'"),
    ],
)
def test_a_part_that_cannot_be_prompted(at, message):
    model = Mine()
    with pytest.raises(ValueError, match=re.escape(message)):
        vptx.attach(model, DEEP, at=at)
    assert find_prompted_network(model) is None


def test_another_part_than_the_prompted_one():
    model = classifier(PromptedBackbone(wrap_backbone(tiny())))
    with pytest.raises(ValueError, match=r"at='head' is not the prompted network that ImageClassifier has"):
        vptx.attach(model, DEEP, at='head')
    assert isinstance(find_prompted_network(vptx.attach(model, DEEP, at='backbone')).prompter, DeepPrompter)


@pytest.mark.parametrize('network', ['plain', 'swin', 'BEiT'])
def test_checkpointing_that_was_asked_of_the_library(network):
    library = tiny(network)
    assert not vptx.attach(deepcopy(library)).with_cp
    library.set_grad_checkpointing()
    assert vptx.attach(library).with_cp
