"""CoCoOp: contexts of each image, checked against CoOp image by image."""

from dataclasses import replace

import pytest
import torch
from clips import EMBED, NAMES, WIDTH, prompted, reference, side, tiny_clip
from networks import images
from torch.nn.functional import normalize

import vptx
from vptx.backbones import OpenCLIPText
from vptx.prompters import ConditionalContextPrompter

COCOOP = dict(type='ConditionalContextPrompter', num_tokens=4, reduction=4)


def relative(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize('whole', [True, False])
@torch.no_grad()
def test_without_a_shift_it_is_coop_for_every_image(whole):
    """And with the bias b alone it is CoOp with V + b."""
    text, coop = side(COCOOP, whole=whole), side(dict(type='ContextPrompter', num_tokens=4), whole=whole)
    for bias in (torch.zeros(WIDTH), torch.randn(WIDTH)):
        text.prompter.meta_net.up.weight.zero_()
        text.prompter.meta_net.up.bias.copy_(bias)
        coop.prompter.context.copy_(text.prompter.context + bias)
        for features in text(torch.randn(3, EMBED)):
            assert relative(features, coop()) < 2e-6


@torch.no_grad()
def test_each_image_has_the_context_of_its_embedding():
    """All vectors are shifted by what the layers make of the embedding of length 1."""
    text, coop, note = side(COCOOP), side(dict(type='ContextPrompter', num_tokens=4)), torch.randn(3, EMBED)
    down, up = text.prompter.meta_net.down, text.prompter.meta_net.up
    found = text(5 * note)
    for x, features in zip(note, found, strict=True):
        shift = up.weight @ (down.weight @ (x / x.norm()) + down.bias).clamp(min=0) + up.bias
        coop.prompter.context.copy_(text.prompter.context + shift)
        assert relative(features, coop()) < 1e-5
    assert relative(found[0], found[1]) > 1e-3


def test_it_does_not_begin_as_the_template():
    """The small network has torch's own numbers, as published."""
    text = side(dict(COCOOP, num_tokens=None, words='a photo of a'))
    assert relative(text(torch.randn(1, EMBED))[0], reference()) > 1e-3


@pytest.mark.parametrize(('joint', 'width', 'number'), [(512, 512, 35_360), (1024, 512, 100_928), (768, 768, 77_616)])
def test_numbers(joint, width, number):
    """Of ViT-B/16, RN50 and ViT-L/14."""
    prompter = ConditionalContextPrompter(num_tokens=4)
    prompter.bind(replace(OpenCLIPText(tiny_clip()).geometry, widths=(width,) * 12, joint=joint))
    assert sum(parameter.numel() for parameter in prompter.parameters()) == number


def test_in_parts_the_same_features_and_gradients():
    note, found = torch.randn(3, EMBED), []
    for options, rows in ((dict(whole=True), 4096), ({}, 4096), ({}, 20)):
        text = side(COCOOP, **options)
        text.rows = rows
        x = note.clone().requires_grad_()
        features = text(x)
        (features * torch.randn(features.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
        found.append([features, x.grad, *(parameter.grad for parameter in text.prompter.parameters())])
    for tensors in zip(*found, strict=True):
        for other in tensors[1:]:
            assert relative(other, tensors[0]) < 1e-5


@torch.no_grad()
def test_memory_does_not_grow_with_the_number_of_classes(monkeypatch):
    """The prefix runs once for each image, and no more rows at a time than asked for."""
    text, seen, block = side(COCOOP, [*NAMES] * 4), [], OpenCLIPText.block
    text.rows = 100

    def noted(net, tokens, *others):
        seen.append(tokens.shape[:2])
        return block(net, tokens, *others)

    monkeypatch.setattr(OpenCLIPText, 'block', noted)
    text(torch.randn(5, EMBED))
    assert seen[0] == (5, 5)  # SOT and four vectors
    assert max(batch * length for batch, length in seen[2:]) <= 100
    assert len(seen) > 10


def test_in_a_model_it_trains_goes_to_a_file_and_serves_other_classes(tmp_path):
    model, image = prompted(dict(COCOOP, words='a photo of a')), images(3)
    model(image).logsumexp(1).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.mapping.parameters())
    with torch.no_grad():
        features, x = (
            model.mapping.text(model.forward_unmapped(image)),
            normalize(model.forward_unmapped(image), dim=-1),
        )
        expected = model.mapping.scale * torch.einsum('bd,bcd->bc', x, features)
        assert relative(model(image), expected) < 1e-5
        vptx.save_prompt(model, tmp_path / 'p.safetensors')
        other = prompted(dict(COCOOP, words='a photo of a'), names=['owl', 'cat'], seed=1)
        vptx.load_prompt(other, tmp_path / 'p.safetensors')
        model.mapping.set_classes(['owl', 'cat'])
        assert torch.equal(other(image), model(image))
    with pytest.raises(ValueError, match='makes other features of the classes for each image'):
        model.mapping.linear()


@pytest.mark.parametrize('reduction', [0, EMBED + 1])
def test_a_hidden_layer_without_units(reduction):
    with pytest.raises(ValueError, match='reduction must be a whole number'):
        side(dict(COCOOP, reduction=reduction))
