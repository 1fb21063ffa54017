"""Pad and channel prompts: what each does to the image and to the stem, and what it refuses."""

import re
from copy import deepcopy
from dataclasses import replace
from math import sqrt

import pytest
import timm
import torch
import torch.nn.functional as F
from networks import PATCH, SIZE, images, tiny, wrapped
from torch import nn

import vptx
from vptx.prompters import ChannelPrompter, PadPrompter, Prompter

STEMS = ['plain', 'DINOv3', 'BEiT', 'ResNet', 'ConvNeXt', 'swin', 'torchvision']
every_stem = pytest.mark.parametrize('network', STEMS)


def bound(prompter: Prompter, network: str = 'ResNet', **changes) -> Prompter:
    prompter.bind(replace(wrapped(network).geometry, **changes))
    return prompter


# Pad prompts


def test_a_frame_around_the_image():
    prompter, image = bound(PadPrompter(pad_size=3)), images(2)
    framed = prompter.image(image)
    assert framed.shape == (2, 3, SIZE + 6, SIZE + 6)
    assert torch.equal(framed[:, :, 3:-3, 3:-3], image)
    frame = torch.ones(SIZE + 6, SIZE + 6, dtype=bool)
    frame[3:-3, 3:-3] = False
    learnt = torch.cat([parameter.flatten() for parameter in prompter.parameters()])
    assert learnt.numel() == 6 * 3 * (SIZE + SIZE + 6)
    for sample in framed:  # every learnt number is somewhere, once, and the same for every image
        assert torch.equal(sample[:, frame].flatten().sort().values, learnt.sort().values)


def test_of_an_image_that_is_no_square():
    framed = bound(PadPrompter(pad_size=2), image=(20, 32)).image(images(1, (20, 32)))
    assert framed.shape == (1, 3, 24, 36)
    assert torch.equal(framed[:, :, 2:-2, 2:-2], images(1, (20, 32)))


@pytest.mark.parametrize('init', ['normalised', 'gaussian', 'zero'])
def test_how_pixels_begin(init):
    torch.manual_seed(0)
    rows = bound(PadPrompter(pad_size=30, init=init)).rows.detach()
    facts = wrapped('ResNet').geometry
    if init == 'zero':
        assert not rows.any()
    elif init == 'gaussian':
        assert (rows.mean().item(), rows.std().item()) == (pytest.approx(0, abs=0.03), pytest.approx(1, abs=0.03))
    else:
        for channel, mean, std in zip(rows, facts.mean, facts.std, strict=True):
            assert (channel * std + mean).min().item() == pytest.approx(0, abs=0.01)
            assert (channel * std + mean).max().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize('network', ['plain', 'ResNet', 'ConvNeXt', 'swin'])
def test_a_frame_of_the_images_own_border_is_a_larger_image(network):
    """What the network computes is what it computes of the framed image, with positions for its size."""
    model, image = vptx.attach(tiny(network), dict(type='PadPrompter', pad_size=PATCH)).eval(), images()
    framed = model.prompter.image(image)
    assert torch.equal(model(image), tiny(network)(framed))


@pytest.mark.parametrize('size', [0, -1, 2.5, '3', None])
def test_no_whole_number_of_pixels(size):
    with pytest.raises(
        ValueError, match=rf'pad_size must be a whole number of at least 1, not {re.escape(repr(size))}'
    ):
        PadPrompter(pad_size=size)


def test_unknown_init_of_a_frame():
    with pytest.raises(ValueError, match="init must be one of 'zero', 'gaussian', 'normalised', not 'ones'"):
        PadPrompter(init='ones')


def test_patches_must_divide_the_larger_image():
    with pytest.raises(
        ValueError, match=r'pad_size=3 makes images of 38 x 38 px, .* 8 x 8 px do not divide; 4 or 8 or 12'
    ):
        bound(PadPrompter(pad_size=3), 'plain')
    assert bound(PadPrompter(pad_size=4), 'plain').image(images()).shape == (2, 3, 40, 40)


def test_a_network_of_one_image_size():
    model = timm.create_model('vit_tiny_patch16_224', depth=1, embed_dim=12, num_heads=1)
    with pytest.raises(
        ValueError, match=r'makes images larger, but vit_tiny.* takes them of 224 x 224 px alone: build it'
    ):
        vptx.attach(model, dict(type='PadPrompter', pad_size=8))


# Channel prompts


@every_stem
def test_new_slices_of_zero_are_the_network_as_it_is(network):
    model = vptx.attach(tiny(network), dict(type='ChannelPrompter', num_channels=2, stem='zero')).eval()
    torch.testing.assert_close(model(images()), tiny(network)(images()), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        model.prompter.kernels[:, 3:].normal_()
    assert not torch.allclose(model(images()), tiny(network)(images()), atol=1e-2)


@every_stem
def test_it_is_a_stem_of_more_channels(network):
    """The library's own network, its convolution replaced by a wider one, on images with the channels behind them."""
    model, image = vptx.attach(tiny(network), dict(type='ChannelPrompter', num_channels=2)).eval(), images()
    prompter, wide = model.prompter, tiny(network)
    with torch.no_grad():
        prompter.kernels.add_(0.1 * torch.randn_like(prompter.kernels))
    frozen = wide.get_submodule(model.net.stem)
    frozen.weight = nn.Parameter(F.pad(frozen.weight, (0, 0, 0, 0, 0, 2)) + prompter.kernels)
    expected = wide(torch.cat([image, prompter.channels.expand(2, -1, -1, -1)], dim=1))
    torch.testing.assert_close(model(image), expected, rtol=1e-5, atol=1e-5)


@every_stem
def test_the_stem_trains_and_the_network_keeps_its_own(network):
    model = vptx.attach(tiny(network), dict(type='ChannelPrompter', stem='zero')).train()
    before = deepcopy(model.net.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    kernels = model.prompter.kernels.detach().clone()
    for _ in range(2):  # a channel that no kernel looks at learns nothing in the first step
        optimizer.zero_grad()
        model(images()).square().mean().backward()
        optimizer.step()
    assert model.prompter.channels.grad.any()
    moved = (model.prompter.kernels - kernels).flatten(2).abs().sum((0, 2))
    assert moved.shape == (6,) and (moved > 0).all()  # the image's three channels, and the three learnt
    assert all(torch.equal(value, before[name]) for name, value in model.net.state_dict().items())


@every_stem
def test_channels_saved_and_loaded(network, tmp_path):
    config = dict(type='ChannelPrompter', num_channels=2)
    model, fresh = (vptx.attach(tiny(network), config).eval() for _ in range(2))
    assert not torch.equal(model(images()), fresh(images()))
    vptx.save_prompt(model, tmp_path / 'prompt.safetensors')
    vptx.load_prompt(fresh, tmp_path / 'prompt.safetensors')
    assert torch.equal(model(images()), fresh(images()))


def test_how_channels_begin():
    torch.manual_seed(0)
    facts = wrapped('ResNet').geometry
    width, height, across = facts.stem
    bound_of_both = sqrt(6 / (3 * height * across + width))
    drawn = bound(ChannelPrompter(num_channels=8))
    assert drawn.channels.abs().max().item() == pytest.approx(bound_of_both, rel=0.01)
    assert drawn.kernels[:, 3:].abs().max().item() == pytest.approx(bound_of_both, rel=0.01)
    assert not drawn.kernels[:, :3].any()
    assert not bound(ChannelPrompter(stem='zero')).kernels.any()
    pixels = bound(ChannelPrompter(num_channels=8, init='normalised')).channels
    mean, std = sum(facts.mean) / 3, sum(facts.std) / 3
    assert (pixels * std + mean).min().item() == pytest.approx(0, abs=0.01)
    assert (pixels * std + mean).max().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(num_channels=0), 'num_channels must be a whole number of at least 1, not 0'),
        (dict(init='ones'), "init must be 'uniform' or 'normalised', not 'ones'"),
        (dict(stem='ones'), "stem must be 'uniform' or 'zero', not 'ones'"),
    ],
)
def test_options_of_channels(options, message):
    with pytest.raises(ValueError, match=message):
        ChannelPrompter(**options)


def test_a_stem_that_standardises_its_kernels_is_refused():
    with pytest.raises(ValueError, match='needs a stem that more channels can be put before, and that of resnetv2_50'):
        vptx.attach(tiny('BiT'), dict(type='ChannelPrompter'))


@pytest.mark.parametrize('prompter', [PadPrompter(pad_size=4), ChannelPrompter(init='normalised')])
def test_normalised_pixels_where_nobody_knows_how(prompter):
    with pytest.raises(ValueError, match=r"init='normalised' .* need the mean .* in a data_preprocessor around"):
        bound(prompter, mean=(), std=())
