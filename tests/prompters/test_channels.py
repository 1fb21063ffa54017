"""Images of other than three channels, and prompters that come after one that makes an image larger."""

import pytest
import torch
from networks import BACKBONES, NETWORKS, PATCH, SIZE, WIDTH, _convnet, _vit, config, tiny, wrapped
from torch import Tensor, nn

import vptx
from vptx.backbones import wrap_backbone
from vptx.registry import PROMPTERS

PROMPTERS.import_from_location()
ON_IMAGE = [
    kind
    for kind, prompter in sorted(PROMPTERS.module_dict.items())
    if 'image' in prompter.doors or kind == 'PrependedPixelPrompter'
]
KNOWN = dict(mean=(0.4, 0.5, 0.6, 0.7), std=(0.1, 0.2, 0.3, 0.4))


def images(channels: int, size: int = SIZE) -> Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0))


def network(channels: int, **overlay) -> nn.Module:
    return _vit('vit_base_patch16_clip_224', in_chans=channels, pretrained_cfg_overlay=overlay).eval()


@pytest.mark.parametrize('name', [*NETWORKS, *BACKBONES])
def test_channels_are_read_off_the_network(name):
    assert wrapped(name).geometry.channels == 3


def test_other_numbers_of_channels_are_read_too():
    for channels in (1, 4, 13):
        assert wrap_backbone(network(channels)).geometry.channels == channels
    convnet = _convnet('convnext_atto', depths=(1, 1, 1, 1), dims=(8, 8, 16, WIDTH), in_chans=4)
    assert wrap_backbone(convnet).geometry.channels == 4
    from mmpretrain.models import VisionTransformer

    arch = dict(embed_dims=WIDTH, num_layers=1, num_heads=4, feedforward_channels=WIDTH)
    assert wrap_backbone(VisionTransformer(arch, SIZE, PATCH, in_channels=4)).geometry.channels == 4


@pytest.mark.parametrize('channels', [1, 4, 13])
@pytest.mark.parametrize('kind', [kind for kind in ON_IMAGE if kind != 'ChannelPrompter'])
def test_a_prompt_has_as_many_channels_as_the_image(kind, channels):
    """In the space of what the network sees, which asks for no statistics of pixels."""
    taken = PROMPTERS.get(kind).__init__.__annotations__
    options = dict(bound='none') if 'bound' in taken else {}
    options |= dict(init='gaussian') if kind == 'PadPrompter' else {}
    model = vptx.attach(network(channels), dict(config(kind, **options), **_normalised(kind)))
    model.train()(images(channels)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.prompter.parameters())
    assert sum(p.grad.abs().sum() for p in model.prompter.parameters()) > 0


def _normalised(kind: str) -> dict:
    return {} if kind == 'PrependedPixelPrompter' else dict(space='normalised')


@pytest.mark.parametrize('kind', [kind for kind in ON_IMAGE if kind not in ('ChannelPrompter', 'CoordinatorPrompter')])
def test_statistics_of_all_channels(kind):
    options = {} if kind == 'PrependedPixelPrompter' else dict(space='unit')
    model = vptx.attach(network(4, **KNOWN), config(kind, **options)).eval()
    assert model(images(4)).shape == (2, 7)
    if options:
        torch.testing.assert_close(model.prompter.scale.flatten(), 1 / torch.tensor(KNOWN['std']))


@pytest.mark.parametrize('options', [dict(space='unit'), dict(bound='clamp'), dict(init='normalised')], ids=str)
def test_statistics_of_other_channels_are_refused(options):
    with pytest.raises(ValueError, match='takes images of 4 channels, but the mean and the standard deviation of its'):
        vptx.attach(network(4), dict(type='PixelPrompter', **options))


@pytest.mark.parametrize('options', [dict(space='unit'), dict(bound='clamp'), dict(init='normalised')], ids=str)
def test_statistics_that_all_channels_share(options):
    library = _vit('vit_base_patch16_224', in_chans=5).eval()  # 0.5 and 0.5, three times
    assert vptx.attach(library, dict(type='PixelPrompter', **options))(images(5)).shape == (2, 7)


@pytest.mark.parametrize('channels', [1, 4, 13])
def test_more_channels_beside_any_number(channels):
    library = network(channels)
    expected = library(images(channels))
    model = vptx.attach(library, config('ChannelPrompter', stem='zero')).eval()
    assert model.prompter.kernels.shape == (WIDTH, channels + 3, PATCH, PATCH)
    torch.testing.assert_close(model(images(channels)), expected)
    with torch.no_grad():
        model.prompter.kernels.normal_()
    model(images(channels)).square().sum().backward()
    assert all(parameter.grad.any() for parameter in model.prompter.parameters())


def test_an_encoder_of_other_channels():
    encoder = dict(type='TimmViT', model='vit_tiny_patch16_224', img_size=SIZE, depth=1, num_heads=1, embed_dim=8)
    prompter = dict(type='CoordinatorPrompter', encoder=encoder, bound='none')
    with pytest.raises(
        ValueError, match=r'takes images of 4 channels, and the encoder of CoordinatorPrompter, .*, of 3'
    ):
        vptx.attach(network(4), prompter)
    encoder['in_chans'] = 4
    assert vptx.attach(network(4), prompter)(images(4)).shape == (2, 7)


PAD = dict(type='PadPrompter', pad_size=PATCH // 2)


@pytest.mark.parametrize('other', [kind for kind in ON_IMAGE if kind != 'PrependedPixelPrompter'] + ['AddedPrompter'])
@pytest.mark.parametrize('name', ['plain', 'swin', 'ResNet'])
def test_what_comes_after_a_pad_is_for_the_larger_image(name, other):
    if name == 'ResNet' and other == 'AddedPrompter':
        return
    torch.manual_seed(0)
    model = vptx.attach(tiny(name), [PAD, dict(config(other), **(dict(deep=True) if other == 'AddedPrompter' else {}))])
    assert model.prompter.image(images(3)).shape[-1] == SIZE + PATCH * (2 if other == 'PadPrompter' else 1)
    model.train()(images(3)).square().mean().backward()
    assert all(p.grad is not None for p in model.prompter.parameters())


def test_tokens_come_after_the_image_in_whatever_order():
    for stack in ([config('AddedPrompter'), PAD], [PAD, config('AddedPrompter')]):
        assert vptx.attach(tiny(), stack)(images(3)).shape == (2, 7)


def test_pixels_before_a_pad_are_for_the_images_own_size():
    model = vptx.attach(tiny(), [dict(type='PixelPrompter'), PAD])
    assert model.prompter.prompters[0].size == (SIZE, SIZE)
    assert model(images(3)).shape == (2, 7)
