"""The steps of the forward pass, one after the other. What they compute is asked in ``test_contract.py``."""

from copy import deepcopy

import pytest
import torch
from networks import CLASSES, DEPTH, GRID, WIDTH, config, images, tiny

import vptx
from vptx.features.images import FrozenOutput, take_features
from vptx.readout import OWN


def prompted(network='plain', *prompters, **options):
    torch.manual_seed(0)
    return vptx.attach(tiny(network), [config(kind) for kind in prompters] or None, **options).eval()


@pytest.mark.parametrize('readout', [OWN, 'cls', 'map', 'maps', 'prompts'])
@pytest.mark.parametrize('network', ['plain', 'swin'])
def test_the_steps_are_the_forward(network, readout):
    if network == 'swin' and readout == 'cls':
        readout = 'mean'
    model, image = prompted(network, 'PixelPrompter', 'ShallowPrompter', readout=readout), images()
    expected = model(image)
    state = model.embed(image)
    assert state.layer == 0
    for layer in range(1, DEPTH):
        state = model.layers(state, layer)
        assert state.layer == layer
    found = model.read(model.layers(state))
    for ours, theirs in zip(*((part if isinstance(part, tuple) else (part,)) for part in (found, expected))):
        assert torch.equal(ours, theirs)


def test_of_the_last_layer_only_what_is_read_is_computed():
    model, image = prompted('plain', 'DeepPrompter', readout='cls'), images()
    state = model.embed(image)
    short, whole = model.layers(state), model.layers(state, DEPTH)
    assert (short.complete, short.tokens.shape) == (False, (2, 1, WIDTH))
    assert (whole.complete, whole.tokens.shape) == (True, (2, 1 + GRID**2, WIDTH))
    torch.testing.assert_close(model.read(short), model.read(whole))


def test_a_state_is_not_changed_by_a_step():
    model = prompted(readout='maps')
    state = model.embed(images())
    model.layers(state)
    assert not state.taps and state.layer == 0
    model.layers(state)


@pytest.mark.parametrize('end', [0, DEPTH + 1])
def test_an_end_that_is_no_layer_to_come(end):
    model = prompted()
    state = model.layers(model.embed(images()), 1)
    with pytest.raises(ValueError, match=f'end={end} must be from 1, where this state is, to {DEPTH}'):
        model.layers(state, end)


@pytest.mark.parametrize('layer', [1, None])
def test_a_network_goes_on_from_features_and_so_does_its_copy(layer):
    model, image = prompted('plain', 'LoRA', mapping=dict(type='RandomMapping', num_classes=3)), images()
    expected = model(image)
    take_features(model, torch.nn.Identity())
    features = FrozenOutput.of(model, image, layer)
    other = deepcopy(model)
    assert torch.equal(model(features), expected)
    assert torch.equal(model(image), expected)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(other(features), expected)


def test_features_of_an_empty_batch():
    model = prompted('plain', 'DeepPrompter')
    assert model.forward_features(images(0)).shape == (0, 1 + GRID**2, WIDTH)
    last, maps = model.forward_intermediates(images(0))
    assert last.shape == (0, 1 + GRID**2, WIDTH)
    assert [found.shape for found in maps] == [(0, WIDTH, GRID, GRID)] * DEPTH
    assert model.forward_unmapped(images(0)).shape == (0, CLASSES)
