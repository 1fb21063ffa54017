"""CLIP-Adapter against its equation, in a model and in a file."""

import pytest
import torch
from clips import EMBED, prompted
from networks import images
from torch.nn.functional import normalize, relu

import vptx
from vptx.backbones import OpenCLIPText
from vptx.mappings import CLIPAdapterHead


@torch.no_grad()
def test_the_embedding_is_mixed_with_what_two_layers_make_of_it():
    model, plain, image = prompted(type='CLIPAdapterHead', ratio=0.3), prompted(), images(3)
    x, (down, _, up, _) = model.forward_unmapped(image), model.mapping.adapter
    assert down.bias is None and up.bias is None
    mixed = 0.3 * relu(relu(x @ down.weight.T) @ up.weight.T) + 0.7 * x
    expected = model.mapping.scale * normalize(mixed, dim=-1) @ plain.mapping.text().T
    torch.testing.assert_close(model(image), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(prompted(type='CLIPAdapterHead', ratio=0)(image), plain(image))
    assert (prompted(type='CLIPAdapterHead')(image) - plain(image)).abs().max() > 1e-3


@pytest.mark.parametrize(('joint', 'number'), [(512, 131_072), (1024, 524_288)])
def test_numbers(joint, number):
    """Of ViT-B/16 and of RN50."""
    head = CLIPAdapterHead(tower=OpenCLIPText(width=16, layers=1, heads=1, vocab=49408, embed=joint), classes=['a'])
    head.bind(joint)
    assert sum(parameter.numel() for parameter in head.parameters()) == number


def test_it_trains_and_serves_other_classes_from_a_file(tmp_path):
    model, image, path = prompted(type='CLIPAdapterHead', seed=1), images(2), tmp_path / 'p.safetensors'
    model(image).logsumexp(1).sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sum(parameter.numel() for parameter in trained) == 2 * EMBED * (EMBED // 4)
    assert all(parameter.grad.abs().max() > 0 for parameter in trained)
    vptx.save_prompt(model, path)
    other = prompted(type='CLIPAdapterHead', names=['owl', 'cat'])
    vptx.load_prompt(other, path)
    model.mapping.set_classes(['owl', 'cat'])
    assert torch.equal(other(image), model(image))
    with pytest.raises(ValueError, match=r'was trained with ratio=0.2 of its text head, this model has 0.3'):
        vptx.load_prompt(prompted(type='CLIPAdapterHead', ratio=0.3), path)
    with pytest.raises(ValueError, match='CLIPAdapterHead is no linear layer'):
        model.mapping.linear()


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(ratio=2), 'ratio must be a number from 0 to 1, not 2'),
        (dict(reduction=0), 'reduction must be a whole number of at least 1'),
        (dict(reduction=99), f'reduction must be a whole number from 1 to {EMBED}, not 99'),
    ],
)
def test_options_that_cannot_be_meant(options, message):
    with pytest.raises(ValueError, match=message):
        prompted(type='CLIPAdapterHead', **options)
