"""What is bound keeps what it has learnt, and belongs to one model at a time."""

import gc
from copy import deepcopy

import pytest
import torch
from networks import NETWORKS, class_mappings, config, image_prompters, images, tiny, wrapped
from torch import nn

import vptx
from vptx.prompters import DeepPrompter, PixelPrompter
from vptx.registry import MAPPINGS, PROMPTERS

for registry in (PROMPTERS, MAPPINGS):
    registry.import_from_location()


def learnt(part: nn.Module) -> dict[str, torch.Tensor]:
    """Its state after some training."""
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.add_(torch.randn_like(parameter))
    return deepcopy(part.state_dict())


def same(part: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    found = part.state_dict()
    return list(found) == list(state) and all(torch.equal(value, found[name]) for name, value in state.items())


@pytest.mark.parametrize('kind', image_prompters())
def test_a_prompter_keeps_what_it_has_learnt(kind):
    given = config(kind) if kind != 'StackedPrompter' else [config('PixelPrompter'), config('DeepPrompter')]
    model = vptx.attach(tiny(), given).eval()
    state, expected, prompter = learnt(model.prompter), model(images()), model.prompter
    again = vptx.attach(vptx.detach(model), prompter).eval()
    assert again.prompter is prompter
    assert same(prompter, state)
    assert torch.equal(again(images()), expected)


@pytest.mark.parametrize('options', [dict(readout='mean'), dict(readout='prompts')])
def test_another_readout_of_the_same_network(options):
    """Prompts then enter otherwise."""
    model = vptx.attach(tiny(), config('DeepPrompter'))
    prompter, state = model.prompter, learnt(model.prompter)
    again = vptx.attach(vptx.detach(model), prompter, **options).eval()
    assert same(prompter, state)
    fresh = vptx.attach(tiny(), config('DeepPrompter'), **options).eval()
    fresh.prompter.load_state_dict(state)
    assert torch.equal(again(images()), fresh(images()))


def test_another_network_of_the_same_shapes():
    model = vptx.attach(tiny(), config('DeepPrompter'))
    prompter, state = model.prompter, learnt(model.prompter)
    vptx.detach(model)
    assert vptx.attach(tiny('layer scale').double(), prompter).eval()(images().double()).dtype == torch.float64
    assert all(torch.equal(value.double(), prompter.state_dict()[name]) for name, value in state.items())


@pytest.mark.parametrize('kind', ['DeepPrompter', 'LoRA', 'SSF', 'AddedPrompter'])
def test_a_network_of_other_shapes_is_refused(kind):
    model = vptx.attach(tiny(), config(kind))
    prompter, state = model.prompter, learnt(model.prompter)
    expected = model.eval()(images())
    library = vptx.detach(model)
    with pytest.raises(ValueError, match=rf'this {kind} is bound to vit_.* and does not fit swin_.*Make a new one'):
        vptx.attach(tiny('swin'), prompter)
    assert same(prompter, state)
    assert torch.equal(vptx.attach(library, prompter).eval()(images()), expected)


@pytest.mark.parametrize('stacked', [False, True])
def test_one_prompter_and_two_models(stacked):
    prompter = DeepPrompter(num_tokens=3)
    model = vptx.attach(tiny(), prompter)
    state = learnt(prompter)
    given = [PixelPrompter(), prompter] if stacked else prompter
    with pytest.raises(ValueError, match=r'this DeepPrompter is attached to another model: vptx\.detach'):
        vptx.attach(tiny(), given)
    assert same(model.prompter, state)
    vptx.attach(tiny(), deepcopy(prompter))
    vptx.detach(model)
    other = vptx.attach(tiny(), given)
    assert same(prompter, state)
    del other, model
    gc.collect()
    vptx.attach(tiny(), prompter)  # of a model that is gone
    assert same(prompter, state)


def test_what_could_not_be_attached_is_free():
    prompter = DeepPrompter(num_tokens=3)
    with pytest.raises(ValueError, match='matches no parameter'):
        vptx.attach(tiny(), prompter, tune=['nothing'])
    vptx.attach(tiny(), prompter)


def test_a_copy_of_a_model_can_be_detached_and_attached():
    copy = deepcopy(vptx.attach(tiny(), config('DeepPrompter')))
    prompter, state = copy.prompter, learnt(copy.prompter)
    assert same(vptx.attach(vptx.detach(copy), prompter).prompter, state)


@pytest.mark.parametrize('kind', class_mappings())
def test_a_mapping_keeps_what_it_has_learnt(kind):
    model = vptx.attach(tiny(), mapping=dict(type=kind, num_classes=3)).eval()
    if hasattr(model.mapping, 'estimate'):
        model.mapping.estimate(torch.rand(7, 3))
    mapping, state, expected = model.mapping, learnt(model.mapping), model(images())
    library = vptx.detach(model)
    again = vptx.attach(library, mapping=mapping).eval()
    assert torch.equal(again(images()), expected)
    assert same(mapping, state)
    with pytest.raises(ValueError, match=f'this {kind} is attached to another model'):
        vptx.attach(tiny(), mapping=mapping)


def test_a_mapping_of_other_classes_is_refused():
    model = vptx.attach(tiny(), mapping=dict(type='RandomMapping', num_classes=3))
    mapping = model.mapping
    library = vptx.detach(model)
    library.reset_classifier(9)
    with pytest.raises(ValueError, match='this RandomMapping is bound to 7 classes and does not fit 9 classes'):
        vptx.attach(library, mapping=mapping)


@pytest.mark.parametrize('network', NETWORKS)
@pytest.mark.parametrize('size', [(32, 32), (48, 48), (32, 64)])
def test_geometry_of_images_of_another_size(network, size):
    facts = wrapped(network).geometry
    found = facts.resized(size)
    assert found.image == size
    if not facts.widths:
        assert found.tokens == facts.tokens
        return
    model = vptx.attach(tiny(network))
    if not facts.any_size:
        assert facts.resized(facts.image) == facts
        return
    state, lengths = model.embed(images(size=size)), []
    for layer in range(facts.depth):
        state = model.layers(state, layer)
        tokens, _ = model.net.merge(state.tokens, layer, state.context)
        lengths.append(tokens.shape[1])
    assert [found.length(layer) for layer in range(facts.depth)] == lengths
