"""Learnt pixels in files that need no vptx: five lines of the docs give what the prompter gives."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import SIZE, images, tiny, wrapped
from PIL import Image
from safetensors import safe_open
from torch import nn

import vptx
from vptx.attach import find_prompted_network
from vptx.pixel_file import read_pixels
from vptx.prompters import Prompter

PAGE = Path(__file__).parent.parent / 'docs' / 'pixels.md'
(SNIPPET,) = (code for code in re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL) if 'load_file(' in code)

KINDS = {
    'border': dict(type='BorderPrompter', width=4),
    'bounded border': dict(type='BorderPrompter', width=4, space='unit', bound='tanh'),
    'patch': dict(type='PatchPrompter', size=6, position=(3, -8), random=True),
    'all': dict(type='PixelPrompter', space='symmetric', init='gaussian'),
    'low rank': dict(type='LowRankPrompter'),
    'around': dict(type='ReprogramPrompter', side=15, init='gaussian'),
    'black around': dict(type='ReprogramPrompter', side=16, space='unit', bound='sigmoid'),
    'grown': dict(type='PadPrompter', pad_size=8),
    'stack': [dict(type='BorderPrompter', width=4), dict(type='ReprogramPrompter', side=16)],
    'with tokens': [dict(type='PixelPrompter', init='gaussian'), dict(type='DeepPrompter', num_tokens=2)],
}


def prompted_model(prompter, network='plain'):
    torch.manual_seed(0)
    model = vptx.attach(tiny(network), prompter)
    for name, parameter in model.prompter.named_parameters():
        if name.endswith('left'):
            nn.init.normal_(parameter)  # a low rank begins at zero
    return model


def by_the_docs(path, pixels, folder, monkeypatch):
    """What the lines of the page make of pixels in [0, 1]."""
    monkeypatch.chdir(folder)
    names = dict(pixels=pixels)
    exec(SNIPPET.replace('border.safetensors', path.name), names)
    return names['prompted']


@pytest.mark.parametrize('kind', KINDS)
@torch.no_grad()
def test_five_lines_of_torch_give_the_same(kind, tmp_path, monkeypatch):
    assert len(SNIPPET.split('\n\n')[1].strip().splitlines()) == 5
    model = prompted_model(KINDS[kind]).train()
    facts, path, pixels = model.net.geometry, tmp_path / 'x.safetensors', torch.rand(3, 3, SIZE, SIZE)
    mean, std = (torch.tensor(values)[:, None, None] for values in (facts.mean, facts.std))
    told = vptx.export_pixels(model, path)
    assert model.training
    seen = model.eval().prompter.image((pixels - mean) / std)
    prompted = by_the_docs(path, pixels, tmp_path, monkeypatch)
    # A stack adds twice, and is rounded twice.
    assert torch.equal(prompted, seen) if kind != 'stack' else torch.allclose(prompted, seen, atol=1e-6)
    with safe_open(path, 'pt') as file:
        words = file.metadata()
    assert words['formula'] == told and 'pixels - mean' in words['space'].replace(
        'pixels in [0, 1], RGB, minus', 'pixels -'
    )
    assert words['network'] == facts.name and f'{seen.shape[2]} x {seen.shape[3]} px' in words['size']
    assert [float(number) for number in words['std'].strip('[]').split(',')] == pytest.approx(facts.std, abs=1e-6)


def test_an_image_of_another_size_goes_into_the_window(tmp_path, monkeypatch):
    model = prompted_model(KINDS['around'])
    vptx.export_pixels(model, tmp_path / 'x.safetensors')
    pixels = torch.rand(2, 3, 48, 40)
    found = read_pixels(model)
    prompted = by_the_docs(tmp_path / 'x.safetensors', pixels, tmp_path, monkeypatch)
    assert torch.equal(prompted, model.prompter.image((pixels - found.mean) / found.std))


def test_differences_as_an_image(tmp_path):
    model = prompted_model(dict(type='BorderPrompter', width=4, space='unit', init='zero'))
    with torch.no_grad():
        model.prompter.rows.fill_(0.25)
        model.prompter.columns[0] = -1.5
    told = vptx.export_pixels(model, tmp_path / 'border.png')
    file = Image.open(tmp_path / 'border.png')
    levels = np.asarray(file)
    assert levels.shape == (SIZE, SIZE, 3) and told in file.text['Description']
    change = levels / 127.5 - 1
    assert np.abs(change[4:-4, 4:-4]).max() < 0.5 / 127  # grey
    assert np.abs(change[:4] - 0.25).max() < 0.5 / 127
    assert (change[4:-4, :4, 0] == -1).all()
    clipped = (SIZE - 8) * 8 / (3 * SIZE**2)
    assert f'{clipped:.1%} of the values' in told


def test_colours_around_a_hole_as_an_image(tmp_path):
    model = prompted_model(dict(type='ReprogramPrompter', side=16, space='unit', bound='sigmoid'))
    told = vptx.export_pixels(model, tmp_path / 'frame.png')
    levels = np.asarray(Image.open(tmp_path / 'frame.png'))
    assert levels.shape == (SIZE, SIZE, 4) and 'transparent' in told and '0.0% of the values' in told
    assert (levels[8:24, 8:24, 3] == 0).all() and (levels[..., 3] == 0).sum() == 16**2
    assert (np.abs(levels[levels[..., 3] > 0][:, :3] - 127.5) <= 0.5).all()  # sigmoid(0): grey


class Late(Prompter):
    """Of a user: brighter where an image is dark."""

    doors = frozenset({'image'})

    def image(self, image):
        return image + 0.1 * (image < 0)


@pytest.mark.parametrize(
    ('prompter', 'message'),
    [
        (
            dict(type='SampleMaskPrompter', init='gaussian'),
            'SampleMaskPrompter cannot be written .* depends on the image',
        ),
        (dict(type='ScalePrompter', side=16), 'ScalePrompter cannot be written .* zooms'),
        (dict(type='BorderPrompter', width=4, compose='replace'), 'BorderPrompter cannot be written .* covers'),
        (dict(type='PixelPrompter', init='gaussian', bound='clamp'), 'PixelPrompter cannot .* depends on the image'),
        (dict(type='ChannelPrompter'), 'ChannelPrompter cannot be written .* adds channels'),
        (Late(), 'Late cannot be written'),
        (dict(type='DeepPrompter', num_tokens=2), 'DeepPrompter has no pixels on the image'),
    ],
)
def test_what_is_not_the_same_for_every_image_is_refused(prompter, message, tmp_path):
    model = prompted_model(prompter)
    if isinstance(prompter, dict) and prompter['type'] == 'ScalePrompter':
        nn.init.constant_(model.prompter.zoom, 0.7)
    with pytest.raises(ValueError, match=message):
        vptx.export_pixels(model, tmp_path / 'x.safetensors')
    assert not list(tmp_path.iterdir())


def test_other_endings_bare_models_and_unknown_pixels(tmp_path):
    with pytest.raises(ValueError, match=r'exported as \.safetensors or \.png, not x\.jpg'):
        vptx.export_pixels(prompted_model(KINDS['border']), tmp_path / 'x.jpg')
    with pytest.raises(ValueError, match='has no pixels on the image'):
        read_pixels(tiny())


@pytest.mark.parametrize('network', ['ResNet', 'swin'])
def test_on_other_networks(network):
    model, image = prompted_model(KINDS['border'], network), images(2)
    assert torch.equal(read_pixels(model).apply(image), model.prompter.image(image))
    assert wrapped(network).geometry.mean and find_prompted_network(model).net.geometry.name
