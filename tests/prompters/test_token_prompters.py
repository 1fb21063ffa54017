"""Shallow, deep, added and prepended-pixel prompts: what each does to the tokens, and what it refuses."""

import re
from dataclasses import replace

import pytest
import torch
from networks import DEPTH, GRID, PATCH, WIDTH, images, tiny, wrapped

import vptx
from vptx.backbones import wrap_backbone
from vptx.geometry import At
from vptx.prompted import PromptedNetwork
from vptx.prompters import AddedPrompter, DeepPrompter, PrependedPixelPrompter, Prompter, ShallowPrompter, TokenPrompter

PROMPTED = [DeepPrompter, ShallowPrompter, PrependedPixelPrompter]


def bound(prompter: Prompter, network: str = 'plain', **options) -> Prompter:
    prompter.bind(wrapped(network).geometry, **options)
    return prompter


def lengths(model, image=None) -> list[int]:
    """How many tokens come out of each layer."""
    seen = []
    hooks = [b.mlp.register_forward_hook(lambda _, i, __: seen.append(i[0].shape[1])) for b in model.net.model.blocks]
    model(images() if image is None else image)
    for hook in hooks:
        hook.remove()
    return seen


ALONE = 1 + GRID**2
WITH = ALONE + 3


@pytest.mark.parametrize('kind', PROMPTED)
@pytest.mark.parametrize('number', [0, -1, 2.5, '3', None])
def test_number_of_tokens(kind, number):
    with pytest.raises(
        ValueError, match=rf'num_tokens must be a whole number of at least 1, not {re.escape(repr(number))}'
    ):
        kind(num_tokens=number)


@pytest.mark.parametrize('layers', [[DEPTH], [-DEPTH - 1], [0, 99], [1.5], ['1']])
def test_layers_out_of_range(layers):
    with pytest.raises(ValueError, match=r'layers \[.*\] are out of range: vit_base.* has layers 0 to 2'):
        bound(DeepPrompter(3, layers=layers))


@pytest.mark.parametrize('layers', [[], '012', 2])
def test_layers_that_are_no_list_of_layers(layers):
    with pytest.raises(ValueError, match='layers must be a list of at least one layer, or None for all; not'):
        DeepPrompter(3, layers=layers)


@pytest.mark.parametrize(
    ('layers', 'expected'),
    [(None, (0, 1, 2)), ([-1], (2,)), ([2, 0], (0, 2)), (range(2), (0, 1)), (range(-2, 0), (1, 2)), ([0, -3], (0,))],
)
def test_layers_are_counted_from_both_ends(layers, expected):
    prompter = bound(DeepPrompter(3, layers=layers))
    assert prompter.layers == expected
    assert len(prompter.embedding.rows) == len(expected)


def test_deep_rows_are_of_their_layers():
    """Layer 2's prompts are the second row where layers are 0 and 2."""
    prompter = bound(DeepPrompter(3, layers=[0, 2]))
    assert torch.equal(prompter.prompts(torch.zeros(1, ALONE, WIDTH), At(2)), prompter.embedding.rows[1])


def test_shared_rows_are_one():
    prompter = bound(DeepPrompter(3, shared=True))
    assert len(prompter.embedding.rows) == 1
    assert all(
        torch.equal(prompter.prompts(torch.zeros(1, ALONE, WIDTH), At(i)), prompter.embedding.rows[0]) for i in range(3)
    )


@pytest.mark.parametrize(
    ('options', 'readout', 'expected'),
    [
        (dict(), 'cls', [ALONE] * 3),
        (dict(), 'prompts', [ALONE, ALONE, WITH]),
        (dict(layers=[0]), 'cls', [WITH, WITH, ALONE + 3]),
        (dict(layers=[0], carry=False), 'cls', [ALONE] * 3),
        (dict(layers=[0, 1], carry=False), 'cls', [ALONE] * 3),
        (dict(layers=[0, 2]), 'cls', [WITH, WITH, ALONE]),
        (dict(layers=[-1]), 'mean', [ALONE, ALONE, ALONE]),
        (dict(layers=[1], carry=False), 'cls', [ALONE] * 3),
    ],
    ids=str,
)
def test_how_far_prompts_go(options, readout, expected):
    """A prompt is a token where a later layer or the readout sees what became of it, and memory elsewhere."""
    model = vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=3, **options), readout=readout).eval()
    assert lengths(model) == expected


@pytest.mark.parametrize('kind', [ShallowPrompter, PrependedPixelPrompter])
def test_shallow_prompts_travel_through_every_layer(kind):
    assert lengths(vptx.attach(tiny(), kind(num_tokens=3)).eval()) == [WITH] * 3


def test_added_prompts_add_no_token():
    assert lengths(vptx.attach(tiny(), AddedPrompter(deep=True)).eval()) == [ALONE] * 3


@pytest.mark.parametrize(
    ('options', 'shapes'),
    [
        (dict(), [(ALONE, WIDTH)]),
        (dict(per_token=False), [(1, WIDTH)]),
        (dict(deep=True), [(ALONE, WIDTH)] * 3),
        (dict(deep=True, per_token=False), [(1, WIDTH)] * 3),
    ],
    ids=str,
)
def test_what_added_prompts_learn(options, shapes):
    assert [tuple(row.shape) for row in bound(AddedPrompter(**options)).embedding.rows] == shapes


def test_added_prompts_are_added_once_or_everywhere():
    tokens = torch.randn(2, ALONE, WIDTH)
    for deep in (False, True):
        prompter = bound(AddedPrompter(deep=deep))
        rows = prompter.embedding.rows
        for layer in range(DEPTH):
            expected = tokens + rows[layer] if deep or layer == 0 else tokens
            assert torch.equal(prompter.before_layer(tokens, At(layer, (GRID, GRID))), expected)


def test_one_added_vector_for_all_tokens_takes_any_image():
    model = vptx.attach(tiny(), AddedPrompter(per_token=False)).eval()
    assert model(images(size=(48, 32))).shape == (2, 7)


@pytest.mark.parametrize('network', ['plain', 'registers', 'no class token'])
def test_prompts_stand_between_prefix_and_patches(network):
    net = wrap_backbone(tiny(network))
    prompter = ShallowPrompter(num_tokens=3)
    prompter.bind(net.geometry)
    tokens = torch.randn(2, net.geometry.tokens, WIDTH)
    entered, prefix = prompter.before_layer(tokens, At(0)), net.geometry.prefix
    assert torch.equal(entered[:, prefix : prefix + 3], prompter.embedding.rows[0].expand(2, -1, -1))
    assert torch.equal(torch.cat([entered[:, :prefix], entered[:, prefix + 3 :]], 1), tokens)
    assert torch.equal(prompter.after_layer(entered, At(DEPTH - 1)), tokens)


def test_pixels_go_through_the_patch_embedding_without_positions():
    model = vptx.attach(tiny(), PrependedPixelPrompter(num_tokens=3)).eval()
    strip = model.prompter.strip
    assert strip.shape == (3, PATCH, 3 * PATCH)
    patches = strip.detach().unfold(2, PATCH, PATCH).movedim(2, 0)  # (3, 3, PATCH, PATCH)
    weight, bias = model.net.model.patch_embed.proj.weight, model.net.model.patch_embed.proj.bias
    expected = torch.einsum('pchw,dchw->pd', patches, weight) + bias
    torch.testing.assert_close(model.net.embed_pixels(strip), expected)


@pytest.mark.parametrize('init', ['uniform', 'gaussian', 'normalised'])
def test_initial_pixels(init):
    torch.manual_seed(0)
    strip = bound(PrependedPixelPrompter(num_tokens=200, init=init), 'clip').strip.detach()
    geometry = wrapped('clip').geometry
    if init == 'uniform':
        limit = (6 / (3 * PATCH * PATCH + WIDTH)) ** 0.5
        assert strip.abs().max() <= limit
        assert strip.std().item() == pytest.approx(limit / 3**0.5, rel=0.02)
    elif init == 'gaussian':
        assert strip.std().item() == pytest.approx(1, rel=0.02)
    else:
        mean, std = (torch.tensor(values)[:, None, None] for values in (geometry.mean, geometry.std))
        pixels = strip * std + mean
        assert pixels.min() >= -1e-6
        assert pixels.max() <= 1 + 1e-6
        torch.testing.assert_close(pixels.mean((1, 2)), torch.full((3,), 0.5), atol=0.02, rtol=0)


def test_unknown_initial_pixels():
    with pytest.raises(ValueError, match="init must be one of 'uniform', 'gaussian', 'normalised', not 'random'"):
        PrependedPixelPrompter(init='random')


def test_a_prompter_must_say_what_its_prompts_are():
    prompter = bound(TokenPrompter(num_tokens=3))
    with pytest.raises(NotImplementedError, match=r'TokenPrompter must define prompts\(tokens, at\)'):
        prompter.memory(torch.zeros(1, ALONE, WIDTH), At(0))


def test_the_base_does_nothing():
    prompter, tokens = bound(Prompter()), torch.randn(2, ALONE, WIDTH)
    at = At(0)
    assert prompter.image(tokens) is prompter.before_layer(tokens, at) is prompter.after_layer(tokens, at) is tokens
    assert prompter.between(tokens, at) is prompter.at_end(tokens, tokens) is tokens
    assert prompter.memory(tokens, at) is prompter.pixels() is prompter.look(tokens, tokens) is prompter.plain() is None
    assert prompter.loss() == {}
    assert not list(prompter.parameters())


def test_a_net_without_door_2():
    net = wrap_backbone(tiny())
    net.geometry = replace(net.geometry, doors=frozenset({'image', 'logits'}))
    with pytest.raises(
        ValueError, match=r'DeepPrompter enters by tokens, but vit_base.* has no door tokens, only image'
    ):
        vptx.attach(PromptedNetwork(net, 'logits'), DeepPrompter(3))
