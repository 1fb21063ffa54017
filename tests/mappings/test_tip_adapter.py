"""Tip-Adapter against its equation; filled from a script, in a file, and what must not be."""

import pytest
import torch
from clips import EMBED, NAMES, prompted
from networks import images
from torch.nn.functional import normalize, one_hot

import vptx
from vptx.backbones import OpenCLIPText
from vptx.mappings import TipAdapterHead

LABELS = torch.tensor([0, 1, 2, 3, 4, 5, 0, 1])


def tip(labels=LABELS, fill=True, **options):
    model = prompted(type='TipAdapterHead', num_images=len(labels), **options)
    if fill:
        torch.manual_seed(0)
        model.mapping.fill(torch.randn(len(labels), EMBED), labels)
    return model


def batches(number=8, seed=0):
    image = images(number, seed=seed)
    return [(image[i : i + 3], LABELS[i : min(i + 3, number)]) for i in range(0, number, 3)]


@torch.no_grad()
def test_logits_of_the_words_and_of_the_memory():
    model, image = tip(alpha=2.0, beta=3.0), images(3)
    head, f = model.mapping, normalize(model.forward_unmapped(image), dim=-1)
    memory = torch.exp(-3 * (1 - f @ head.keys.T)) @ one_hot(LABELS, len(NAMES)).float()
    torch.testing.assert_close(head.keys.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(model(image), prompted()(image) + 2 * memory, rtol=1e-5, atol=1e-5)
    assert torch.equal(tip(alpha=0)(image), prompted()(image))


@torch.no_grad()
def test_keys_are_averaged_over_augmented_epochs():
    model, plain = tip(fill=False, epochs=3), prompted()
    passes = iter(map(batches, [8] * 3, (0, 1, 2)))

    class Augmented:
        def __iter__(self):
            return iter(next(passes))

    vptx.fill_cache(model, Augmented())
    mean = sum(normalize(plain.forward_unmapped(images(8, seed=seed)), dim=-1) for seed in (0, 1, 2)) / 3
    torch.testing.assert_close(model.mapping.keys, normalize(mean, dim=-1), rtol=1e-5, atol=1e-6)
    assert torch.equal(model.mapping.labels, LABELS) and next(passes, None) is None


@torch.no_grad()
def test_alpha_and_beta_are_the_best_on_validation_images():
    """Images of the memory are recognised by it; of words that know nothing, none."""
    model = tip(fill=False, epochs=1)
    before = (prompted()(images(8)).argmax(1) == LABELS).float().mean()
    vptx.fill_cache(model, batches(), batches())
    after = (model(images(8)).argmax(1) == LABELS).float().mean()
    assert after > before
    assert after == model.mapping.choose(model.forward_unmapped(images(8)), LABELS)
    for train_keys in (False, True):  # whose gradients an alpha of 0 would stop
        head = tip(train_keys=train_keys).mapping
        head.choose(torch.randn(2, EMBED), torch.tensor([9, 9]))  # none is right
        assert (head.alpha > 0) == train_keys
    fixed = tip(fill=False, epochs=1, alpha=1.5, beta=2.5)
    vptx.fill_cache(fixed, batches())
    assert (fixed.mapping.alpha, fixed.mapping.beta) == (1.5, 2.5)


@pytest.mark.parametrize('train_keys', [False, True])
def test_the_file_has_the_memory(train_keys, tmp_path):
    model, image, path = tip(train_keys=train_keys, alpha=3.0), images(2), tmp_path / 'p.safetensors'
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == ({'mapping.keys'} if train_keys else set())
    if train_keys:
        model(image).logsumexp(1).sum().backward()
        assert model.mapping.keys.grad.abs().max() > 0
    vptx.save_prompt(model, path)
    for other in (True, False):  # keys that were remembered can be trained further, and the other way around
        fresh = tip(fill=False, train_keys=other)
        assert not fresh.mapping.ready
        vptx.load_prompt(fresh, path)
        assert torch.equal(fresh(image), model(image)) and fresh.mapping.alpha == 3
    other = tip(fill=False, names=['something'])  # takes the classes of the file over
    vptx.load_prompt(other, path)
    assert other.mapping.class_names == NAMES and torch.equal(other(image), model(image))
    with pytest.raises(ValueError, match=r'mapping.labels of shape \(8,\) instead of \(7,\)|shape'):
        vptx.load_prompt(tip(LABELS[:7]), path)


def test_as_many_images_as_there_are(tmp_path):
    model = prompted(type='TipAdapterHead', epochs=1)
    with pytest.raises(RuntimeError, match='has seen none yet'):
        model(images())
    vptx.fill_cache(model, batches(7))
    assert model.mapping.keys.shape == (7, EMBED)
    vptx.save_prompt(model, tmp_path / 'p.safetensors')
    other = prompted(type='TipAdapterHead')
    vptx.load_prompt(other, tmp_path / 'p.safetensors')
    assert torch.equal(other(images()), model(images()))
    with pytest.raises(ValueError, match=r'there are 8 training images, .* num_images=7'):
        vptx.fill_cache(model, batches(8))


@pytest.mark.parametrize(('joint', 'number'), [(512, 8_192_000), (1024, 16_384_000)])
def test_numbers(joint, number):
    """Of 16 images of each class of ImageNet, with ViT-B/16 and with RN50."""
    tower = OpenCLIPText(width=16, layers=1, heads=1, embed=joint)
    head = TipAdapterHead(16_000, train_keys=True, tower=tower, classes=['a'])
    head.bind(joint)
    assert sum(parameter.numel() for parameter in head.parameters()) == number


def test_what_cannot_be_meant():
    model = tip(fill=False)
    with pytest.raises(RuntimeError, match='remembers the training images, and has seen none yet: train by a config'):
        model(images())
    with pytest.raises(ValueError, match=r'there are 7 training images, and .* num_images=8: set num_images=7'):
        vptx.fill_cache(model, batches(7))
    with pytest.raises(ValueError, match='labels must be from 0 to 5, not '):
        model.mapping.fill(torch.randn(8, EMBED), LABELS + 1)
    shuffled = iter([batches(), batches()[::-1]])

    class Loader:
        def __iter__(self):
            return iter(next(shuffled))

    with pytest.raises(ValueError, match=r'another order in the second epoch.*shuffle=False'):
        vptx.fill_cache(model, Loader())
    with pytest.raises(ValueError, match='a memory is filled from images, and there are none'):
        vptx.fill_cache(model, [])
    with pytest.raises(ValueError, match='has no TipAdapterHead'):
        vptx.fill_cache(prompted(), batches())
    model.mapping.set_classes(['owl'])  # nothing is remembered yet
    model = tip()
    with pytest.raises(ValueError, match='the memory of TipAdapterHead has images of its 6 classes'):
        model.mapping.set_classes(['owl'])
    model.mapping.set_classes(NAMES)
    for classes in (None, [], ['a', 3]):
        with pytest.raises(ValueError, match=r'^p.safetensors: classes must be a list'):
            model.mapping.check_facts(dict(model.mapping.facts(), classes=classes), 'p.safetensors')
    with pytest.raises(ValueError, match='is no linear layer'):
        model.mapping.linear()
    for options, message in [
        (dict(num_images=0), 'num_images must be a whole number of at least 1'),
        (dict(num_images=3, beta=-1), 'beta must be a number of at least 0, not -1'),
        (dict(num_images=3, epochs=0), 'epochs must be'),
    ]:
        with pytest.raises(ValueError, match=message):
            prompted(type='TipAdapterHead', **options)
