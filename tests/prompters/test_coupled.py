"""MaPLe: one set of prompts for both towers; and the same without the coupling, IVLP, layer by layer as published."""

from copy import deepcopy

import pytest
import torch
from clips import NAMES, prompted, reference, side, tiny_clip, tokenize
from networks import images
from safetensors.torch import load_file
from torch import Tensor, nn

import vptx
from vptx.geometry import Geometry
from vptx.prompters import ContextPrompter, CoupledPrompter, DeepPrompter

COUPLED = dict(type='CoupledPrompter')


def words(depth: int = 2, number: int = 2, **options) -> dict:
    return dict(type='ContextPrompter', num_tokens=number, words='a photo of a', depth=depth, **options)


def maple(depth: int = 2, seed: int = 0, **options) -> nn.Module:
    """Of two layers of either tower, after some training."""
    model = prompted(words(depth), dict(COUPLED), seed=seed, **options)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.mapping.text.prompter.deep:
            parameter.normal_(std=0.5)
        for layer in model.prompter.maps:
            layer.weight.normal_(std=0.3)
    return model


def independent(layers: list[int], **options) -> nn.Module:
    image = dict(type='DeepPrompter', num_tokens=2, layers=layers, embedded=True, init='normal')
    return prompted(words(len(layers)), image, **options)


def shapes(name: str, width: int, doors: set[str], **facts) -> Geometry:
    """Of one tower of CLIP's ViT-B/16."""
    size = dict(patch=(16, 16), image=(224, 224), prefix=1, tokens=197, mean=(0.5,) * 3, std=(0.5,) * 3)
    return Geometry(name=name, widths=(width,) * 12, doors=frozenset(doors), **size, **facts)


TEXT = shapes('text', 512, {'words', 'tokens', 'memory'}, word_vectors=lambda phrase: torch.zeros(4, 512))
IMAGE = shapes('image', 768, {'image', 'tokens', 'memory', 'logits'})


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def bound(prompter, geometry):
    prompter.bind(geometry)
    return prompter


@pytest.mark.parametrize(('number', 'depth', 'total'), [(2, 12, 30_720), (4, 9, 46_080), (4, 3, 15_360)])
def test_numbers_of_independent_prompts_in_vit_b16(number, depth, total):
    text = bound(ContextPrompter(number, words='a photo of a', depth=depth), TEXT)
    image = bound(DeepPrompter(number, layers=range(depth), embedded=True), IMAGE)
    assert count(text, image) == total == number * depth * (512 + 768)


def test_numbers_of_deep_prompts_of_one_side_in_vit_b16():
    assert count(bound(ContextPrompter(4, depth=12), TEXT)) == 24_576
    assert count(bound(DeepPrompter(8, embedded=True), IMAGE)) == 73_728


@torch.no_grad()
def test_vectors_in_front_of_the_words_start_as_zeros():
    """ProGrad's: as many words as the phrase has are its first tokens, and what is left of it stays."""
    phrase = 'a photo-realistic photo of a'  # 5 words, 7 tokens
    text = side(dict(type='ContextPrompter', num_tokens=8, words=phrase, zeros_ahead=True), whole=True)
    context, net = text.prompter.context, text.net
    assert not context[:3].any() and torch.equal(context[3:], net.word_vectors(phrase)[:5])
    ids = tokenize([f'X X X {phrase} {name}.' for name in NAMES])
    vectors = net.vectors(ids)
    vectors[:, 1:4] = 0
    clip = tiny_clip()
    x = vectors + clip.positional_embedding
    for block in clip.transformer.resblocks:
        x = block(x, attn_mask=clip.attn_mask)
    rows = clip.ln_final(x)[torch.arange(len(ids)), ids.argmax(1)] @ clip.text_projection
    torch.testing.assert_close(text(), nn.functional.normalize(rows, dim=-1), rtol=1e-5, atol=1e-5)
    assert 'zeros_ahead' not in text.prompter.settings


@pytest.mark.parametrize(('depth', 'total'), [(9, 3_555_072), (3, 1_185_024)])
def test_numbers_of_coupled_prompts_in_vit_b16(depth, total):
    text = bound(ContextPrompter(2, words='a photo of a', depth=depth), TEXT)
    both = shapes('image', 768, {'tokens'}, language=tuple(tuple(p.shape) for p in text.language()))
    image = bound(CoupledPrompter(), both)
    assert count(text, image) == total
    first, *others = image.maps
    assert all(torch.equal(others[0].weight, other.weight) for other in others)
    assert all(torch.equal(others[0].bias, other.bias) for other in others)
    assert not torch.equal(first.weight, others[0].weight)


def embedding(model: nn.Module, prompts: list[Tensor]) -> Tensor:
    """In the order of the public code: positions, prompts at the end, norm, layers, others in their place; the outputs
    of the last prompts go on."""
    vit, number = model.net.model, len(prompts[0])
    x = vit._pos_embed(vit.patch_embed(images()))
    x = vit.norm_pre(torch.cat([x, prompts[0].expand(2, -1, -1)], 1))
    for layer, block in enumerate(vit.blocks):
        if 0 < layer < len(prompts):
            x = torch.cat([x[:, :-number], prompts[layer].expand(2, -1, -1)], 1)
        x = block(x)
    return vit.forward_head(vit.norm(x))


def sentences(prompts: list[Tensor]) -> Tensor:
    """The same of the text side, by open_clip's modules."""
    clip, number = tiny_clip(), len(prompts[0])
    ids = tokenize([f'a photo of a {name}.' for name in NAMES])
    x = clip.token_embedding(ids)
    x = torch.cat([x[:, :1], prompts[0].expand(len(x), -1, -1), x[:, 1 + number :]], 1) + clip.positional_embedding
    for layer, block in enumerate(clip.transformer.resblocks):
        if 0 < layer < len(prompts):
            x = torch.cat([x[:, :1], prompts[layer].expand(len(x), -1, -1), x[:, 1 + number :]], 1)
        x = block(x, attn_mask=clip.attn_mask)
    rows = clip.ln_final(x)[torch.arange(len(ids)), ids.argmax(1)]
    return nn.functional.normalize(rows @ clip.text_projection, dim=-1)


@pytest.mark.parametrize('depth', [1, 2])
def test_both_sides_are_as_published(depth):
    model = maple(depth)
    texts = [*model.mapping.text.prompter.language()]
    expected = embedding(model, [made(prompts) for made, prompts in zip(model.prompter.maps, texts, strict=True)])
    torch.testing.assert_close(model.forward_unmapped(images()), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.mapping.text(), sentences(texts), rtol=1e-5, atol=1e-5)


def test_independent_prompts_are_as_published():
    model = independent([0])
    torch.testing.assert_close(
        model.forward_unmapped(images()), embedding(model, list(model.prompter.embedding.rows)), rtol=1e-5, atol=1e-5
    )


def test_texts_start_as_the_template_and_images_not_as_those_of_clip():
    model = prompted(words(1), dict(COUPLED), whole=True)
    assert torch.equal(model.mapping.text(), reference())
    assert not torch.allclose(model.forward_unmapped(images()), prompted().forward_unmapped(images()), atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize('zero', [False, True])
def test_maps_without_weights_are_independent_prompts(zero):
    """Those of the biases; of zeros they are still prompts."""
    model, other = maple(), independent([0, 1])
    for made, row in zip(model.prompter.maps, other.prompter.embedding.rows, strict=True):
        made.weight.zero_()
        made.bias.normal_().mul_(0 if zero else 1)
        row.copy_(made.bias.expand(2, -1))
    other.mapping.text.prompter.load_state_dict(model.mapping.text.prompter.state_dict())
    torch.testing.assert_close(model(images()), other(images()), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(model.forward_unmapped(images()), prompted().forward_unmapped(images()), atol=1e-3)


def test_gradients_of_both_sides_meet_in_the_same_prompts():
    model = maple().train()
    model(images()).square().sum().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(parameter.grad.any() for parameter in trained.values()) and len(trained) == 2 + 2 * 2
    both = model.mapping.text.prompter.context.grad.clone()
    model.zero_grad()
    model.mapping.score(model.forward_unmapped(images()), model.mapping.text().detach()).sum().backward()
    of_images = model.mapping.text.prompter.context.grad
    assert of_images.any() and not torch.allclose(of_images, both)


def test_a_file_has_them_once(tmp_path):
    model, path = maple(), tmp_path / 'prompt.safetensors'
    vptx.save_prompt(model, path)
    sizes = {name: tensor.numel() for name, tensor in load_file(path).items()}
    assert sum(sizes.values()) == 2 * (2 * 32) + 2 * (32 * 32 + 32)
    assert sorted(sizes) == [
        *('mapping.text.prompter.context', 'mapping.text.prompter.deep.0'),
        *(f'prompter.maps.{i}.{kind}' for i in (0, 1) for kind in ('bias', 'weight')),
    ]
    other = prompted(words(2), dict(COUPLED), seed=3)
    vptx.load_prompt(other, path)
    assert torch.equal(other(images()), model(images()))
    with pytest.raises(ValueError, match=r'lacks|has .* which does not train here'):
        vptx.load_prompt(prompted(words(1), dict(COUPLED)), path)


def test_copied_folded_detached_and_attached_again():
    model = maple()
    expected = model(images())
    copy = deepcopy(model)
    with torch.no_grad():
        copy.mapping.text.prompter.context.mul_(2)
    assert torch.equal(model(images()), expected)
    assert not torch.allclose(
        copy.forward_unmapped(images()), model.forward_unmapped(images()), atol=1e-3
    )  # its own, on both sides
    vptx.fold(model)
    torch.testing.assert_close(model(images()), expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        model.mapping.text.prompter.context.mul_(2)
    torch.testing.assert_close(model(images()), copy(images()), rtol=1e-5, atol=1e-5)  # folded again
    prompter, mapping, library = model.prompter, model.mapping, vptx.detach(model)
    again = vptx.attach(library, prompter, mapping=mapping).eval()
    torch.testing.assert_close(again(images()), copy(images()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('kind', [torch.bfloat16, torch.float64])
def test_in_other_precisions(kind):
    model, image = maple().train(), images()
    expected = model.forward_unmapped(image)
    if kind == torch.bfloat16:
        with torch.autocast('cpu', kind):
            found = model.forward_unmapped(image)
    else:
        found = model.double().forward_unmapped(image.double())
    found.sum().backward()
    assert all(layer.weight.grad.any() for layer in model.prompter.maps)
    assert (found - expected).abs().max() < (0.1 if kind == torch.bfloat16 else 1e-4) * expected.abs().max()


def test_what_it_cannot_be_made_of():
    for text, message in [
        (None, 'makes the prompts of the image side of those of the text side, and there are none'),
        (dict(type='ContextPrompter', num_tokens=2, class_specific=True), 'there are none that all classes share'),
        (words(3), 'the text side has prompts in 3 layers, and .* has 2 layers'),
        (dict(COUPLED), 'there are none'),  # on the text side itself
    ]:
        with pytest.raises(ValueError, match=message):
            prompted(text, dict(COUPLED))
