"""Explicit prompts: edges of the image, added to its patches."""

import numpy as np
import pytest
import torch
from exact import exact, pictures, same
from networks import SIZE
from torch.fx.experimental.proxy_tensor import make_fx

import vptx
from vptx.prompters.explicit import high


@pytest.mark.parametrize('size', [(8, 8), (9, 12)])
def test_high_frequencies(size):
    image = torch.randn(2, 3, *size, dtype=torch.float64)
    spectrum = np.fft.fftshift(np.fft.fft2(image.numpy()), axes=(-2, -1))
    reach = int((size[0] * size[1] * 0.25) ** 0.5 // 2)
    rows, columns = (side // 2 for side in size)
    spectrum[..., rows - reach : rows + reach, columns - reach : columns + reach] = 0
    expected = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(-2, -1))).real)
    assert same(high(image, 0.25), torch.from_numpy(expected), 1e-11)


def test_high_frequencies_are_made_of_real_numbers_alone():
    """ONNX has no others."""
    graph = str(make_fx(lambda image: high(image, 0.25))(torch.rand(1, 3, 8, 8)).graph)
    assert 'matmul' in graph or 'bmm' in graph
    assert 'fft' not in graph and 'complex' not in graph


def test_a_plain_image_has_no_edges():
    assert high(torch.ones(1, 3, SIZE, SIZE), 0.25).abs().max() < 1e-6


@pytest.mark.parametrize('network', ['plain', 'swin', 'SAM'])
def test_the_first_layer(network):
    model = exact('ExplicitPrompter', network)
    prompter, image = model.prompter, pictures()
    tokens, context = model.net.embed(image)
    prefix = model.net.geometry.prefix
    seen = prompter.frequencies(high(image, 0.25)).flatten(2).mT + prompter.embedded(tokens[:, prefix:])
    up = prompter.ups[str(tokens.shape[-1])]
    expected = tokens.clone()
    expected[:, prefix:] += up(torch.nn.functional.gelu(prompter.layers[0](seen)))
    state = model.embed(image)
    at = model._at(0, context.grid, state.seen)
    assert same(prompter.before_layer(tokens, at), expected)
    assert model(image).isfinite().all()


def test_next_to_prompts_it_acts_on_patches_alone():
    model = exact([dict(type='ExplicitPrompter', reduction=8), dict(type='ShallowPrompter', num_tokens=3)])
    assert model(pictures()).isfinite().all()
    tokens = model.embed(pictures())
    at = model._at(1, (4, 4), tokens.seen)
    rows = torch.randn(3, 1 + 3 + 16, 32, dtype=torch.float64)
    found = model.prompter.before_layer(rows, at)
    assert torch.equal(found[:, :4], rows[:, :4]) and not torch.equal(found[:, 4:], rows[:, 4:])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(mask=0), r'mask must be in \(0, 1\), not 0'),
        (dict(reduction=0), 'reduction must be a whole number of at least 1, not 0'),
        (dict(reduction=64), 'reduction=64 leaves nothing of the width 32'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        exact('ExplicitPrompter', **options)


def test_the_cache_of_features_knows_that_it_sees_the_image():
    model = vptx.attach(exact('ExplicitPrompter').net.model, None)
    assert model.frozen_until(pictures()) is None
    with pytest.raises(ValueError, match='ExplicitPrompter sees the image before the first layer'):
        exact('ExplicitPrompter').frozen_until(pictures())
