"""BlackVIP's Coordinator: an encoder that nothing trains, counts or saves, and what is made of what it sees."""

from copy import deepcopy
from dataclasses import replace

import pytest
import timm
import torch
from networks import SIZE, images, tiny, wrapped
from torch import nn

import vptx
from vptx.pixel_file import read_pixels
from vptx.prompters import CoordinatorPrompter

ENCODER = dict(
    type='TimmViT', model='vit_tiny_patch16_224', img_size=SIZE, patch_size=8, embed_dim=12, depth=2, num_heads=3
)


def prompted(seed=0, **options):
    torch.manual_seed(seed)
    return vptx.attach(tiny(), dict(type='CoordinatorPrompter', **{'encoder': ENCODER, **options})).eval()


def pixels(batch=3):
    """Normalised images whose pixels are in [0, 1]."""
    facts = wrapped().geometry
    mean, std = (torch.tensor(values)[:, None, None] for values in (facts.mean, facts.std))
    return (torch.rand(batch, 3, SIZE, SIZE) - mean) / std


@pytest.mark.parametrize('norm', ['batch', 'group'])
def test_as_many_numbers_as_published(norm):
    """Of a map of 32 x 7 x 7, 768 of whose numbers are MAE's: those of the decoder one by one."""
    facts = replace(wrapped().geometry, image=(224, 224))
    with torch.device('meta'):
        prompter = CoordinatorPrompter(dict(type='TimmViT', model='vit_base_patch16_224.mae'), norm=norm)
        prompter.bind(facts)
    assert prompter.trigger.shape == (800,) and prompter.map == (32, 7, 7)
    doubled = [32 * 2 * 4 + 64, 64 * 4 + 64, 32 * 4 + 32, 32 * 4 + 32, 16 * 3 * 4]
    mixed = [64 * 64 + 2 * 64, 64 * 32 + 2 * 32, 32 * 32 + 2 * 32, 32 * 16 + 2 * 16]
    assert sum(p.numel() for p in prompter.parameters()) == 800 + sum(doubled) + sum(mixed) == 9_920
    assert prompter.image(torch.empty(2, 3, 224, 224, device='meta')).shape == (2, 3, 224, 224)


def test_what_the_encoder_sees_is_its_librarys_class_token():
    model, image = prompted(), images(3)
    arguments = {name: value for name, value in ENCODER.items() if name not in ('type', 'model')}
    encoder = timm.create_model(ENCODER['model'], num_classes=0, **arguments)
    encoder.load_state_dict(dict(model.prompter.encoder.model.named_buffers()))
    before_the_norm = {}
    encoder.norm.register_forward_pre_hook(lambda _, inputs: before_the_norm.update(tokens=inputs[0]))
    encoder.eval()(image)
    torch.testing.assert_close(model.prompter.encode(image), before_the_norm['tokens'][:, 0])


def test_the_equation():
    model, image = prompted(strength=0.4), pixels()
    prompter, facts = model.prompter, model.net.geometry
    cells = torch.cat([prompter.encode(image), prompter.trigger.expand(3, -1)], dim=1).view(3, *prompter.map)
    assert prompter.map == (32, 1, 1) and len(prompter.trigger) == 32 - 12
    assert 0 <= prompter.trigger.min() and prompter.trigger.max() <= 0.1
    mean, std = (torch.tensor(values)[:, None, None] for values in (facts.mean, facts.std))
    expected = image + 0.4 * prompter.decoder(cells)
    within = torch.minimum(torch.maximum(expected, (0 - mean) / std), (1 - mean) / std)
    torch.testing.assert_close(prompter.image(image), within)
    assert not torch.allclose(expected, within)


def test_every_image_has_a_prompt_of_its_own_and_without_an_encoder_all_have_one():
    image = pixels()
    for options, same in ((dict(), False), (dict(encoder=None), True)):
        prompter = prompted(bound='none', **options).prompter
        change = prompter.image(image) - image
        assert torch.allclose(change[0], change[1], atol=1e-5) is same
    assert read_pixels(prompted(bound='none', encoder=None)).window == (0, 0, SIZE, SIZE)


def test_nothing_trains_counts_or_saves_the_encoder(tmp_path):
    model, image = prompted(norm='batch').train(), images(3)
    model.prompter.encoder.model.blocks[0].drop_path1 = nn.Dropout(0.9)
    names = [name for name, _ in model.prompter.named_parameters()]
    assert names and not any(name.startswith('encoder') for name in names)
    before = deepcopy(dict(model.prompter.encoder.named_buffers()))
    torch.manual_seed(0)
    first = model(image)
    torch.manual_seed(1)
    assert torch.equal(model(image), first)  # nothing in it is dropped
    first.square().sum().backward()
    after = dict(model.prompter.encoder.named_buffers())
    assert all(torch.equal(before[name], after[name]) and not after[name].requires_grad for name in before)
    assert not any('encoder.' in name for name in model.state_dict())
    vptx.save_prompt(model, tmp_path / 'prompt.safetensors')
    assert (tmp_path / 'prompt.safetensors').stat().st_size < 4 * 12_000 + 8_000


@pytest.mark.parametrize('stacked', [False, True])
def test_prompts_belong_to_their_encoder(stacked, tmp_path):
    def made(seed=0):
        torch.manual_seed(seed)
        coordinator = dict(type='CoordinatorPrompter', encoder=ENCODER)
        prompter = [coordinator, dict(type='DeepPrompter', num_tokens=2)] if stacked else coordinator
        return vptx.attach(tiny(), prompter).eval()

    model, image = made(), pixels()
    vptx.save_prompt(model, tmp_path / 'prompt.safetensors')
    same, other = made(), made(seed=1)
    with torch.no_grad():
        for parameter in same.prompter.parameters():
            parameter.zero_()
    vptx.load_prompt(same, tmp_path / 'prompt.safetensors')
    assert torch.equal(same(image), model(image))
    with pytest.raises(ValueError, match=r'other frozen weights of .*, or of the frozen part of .*Prompter, '):
        vptx.load_prompt(other, tmp_path / 'prompt.safetensors')


def test_a_side_that_five_doublings_do_not_reach():
    prompter = CoordinatorPrompter()
    prompter.bind(replace(wrapped().geometry, image=(40, 72)))
    assert prompter.map == (32, 2, 3)
    assert prompter.image(images(2, (40, 72))).shape == (2, 3, 40, 72)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(channels=0), 'channels must be a whole number of at least 1, not 0'),
        (dict(norm='layer'), "norm must be one of 'group', 'batch', not 'layer'"),
        (dict(channels=12), r"make a map of 12 numbers, which the 12 of vit_tiny_patch16_224's .* 13 channels or more"),
        (
            dict(encoder=dict(type='TimmClassifier', model='test_resnet')),
            'class token of its encoder, and test_resnet has',
        ),
    ],
)
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        prompted(**options)


def test_the_images_gradient_goes_through_the_encoder():
    """Against a difference in double precision."""
    model = prompted(bound='none').double()
    with torch.no_grad():
        for parameter in model.prompter.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    image, direction = pixels(2).double(), torch.randn(2, 3, SIZE, SIZE, dtype=torch.double)
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(model(image).square().sum(), image)
    with torch.no_grad():
        ahead, behind = (model(image + step * direction).square().sum() for step in (1e-5, -1e-5))
    torch.testing.assert_close((gradient * direction).sum(), (ahead - behind) / 2e-5, rtol=1e-6, atol=1e-6)


def test_no_graph_of_the_encoder_for_an_image_without_gradient():
    model = prompted()
    assert not model.prompter.encode(pixels()).requires_grad
