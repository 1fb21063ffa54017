"""Heads of a bank: linear ones of either kind of model, label mappings and text heads, in one batch."""

from functools import partial

import pytest
import torch
from clips import NAMES, head, image_tower, tiny_clip
from mmpretrain.models import ImageClassifier
from networks import CLASSES, SIZE, WIDTH, class_mappings, images, tiny
from torch import nn

import vptx
from vptx.backbones import OpenCLIPText
from vptx.registry import MAPPINGS
from vptx.serve import Bank

CONTEXT = dict(type='ContextPrompter', num_tokens=3)


def drawn(model: nn.Module, seed: int = 0) -> nn.Module:
    """As after some training, in eval mode."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def check(bank: Bank, models: dict[str, nn.Module], folder, tolerance: float = 1e-5) -> None:
    """Each sample of a mixed batch gets what its model alone gives."""
    for name, model in models.items():
        vptx.save_prompt(model, folder / f'{name}.safetensors')
        bank.add(name, folder / f'{name}.safetensors')
    asked = [*models, *reversed(models)]
    batch = images(len(asked))
    for row, (name, logits) in enumerate(zip(asked, bank.predict(batch, asked), strict=True)):
        with torch.no_grad():
            found = models[name](batch[row : row + 1])
        wanted = (found[0] if isinstance(found, tuple) else found)[0]
        assert (logits - wanted).abs().max() <= tolerance * wanted.abs().max(), name


def test_text_heads(tmp_path):
    deep = dict(type='DeepPrompter', num_tokens=2)
    kinds = dict(
        zero_shot=(None, head()),
        of_two=(deep, head(names=NAMES[:2], template=['{}', 'a drawing of a {}.'])),
        coop=(None, head(CONTEXT)),
        scaled=(deep, head(CONTEXT, scale=7.0, names=NAMES[:3])),
        maple=(dict(type='CoupledPrompter'), head(dict(type='ContextPrompter', num_tokens=2, depth=2))),
    )
    models = {name: vptx.attach(image_tower(), *given[:1], mapping=given[1]) for name, given in kinds.items()}
    models['linear'] = vptx.attach(image_tower(), deep, tune=['head'])
    template = vptx.attach(image_tower(), mapping=head())
    bank = Bank(template, tmp_path / 'bank')
    check(bank, {name: drawn(model, i) for i, (name, model) in enumerate(models.items())}, tmp_path, 3e-5)
    assert bank.task('of_two').classes == NAMES[:2]


def test_a_text_head_without_a_tower_in_the_bank_and_one_that_is_not_linear(tmp_path):
    model = drawn(vptx.attach(image_tower(), mapping=head(CONTEXT)))
    vptx.save_prompt(model, tmp_path / 'a.safetensors')
    with pytest.raises(ValueError, match='this bank has no text tower'):
        Bank(image_tower()).add('a', tmp_path / 'a.safetensors')
    model = vptx.attach(image_tower(), mapping=head(type='CLIPAdapterHead'))
    vptx.save_prompt(model, tmp_path / 'b.safetensors')
    with pytest.raises(ValueError, match=r'b\.safetensors: its CLIPAdapterHead|cannot be in a bank'):
        Bank(vptx.attach(image_tower(), mapping=head())).add('b', tmp_path / 'b.safetensors')


def test_words_of_another_tower_are_refused(tmp_path):
    model = drawn(vptx.attach(image_tower(), mapping=head(CONTEXT)))
    vptx.save_prompt(model, tmp_path / 'a.safetensors')
    other = tiny_clip()
    other.token_embedding.weight.data += 1
    template = vptx.attach(image_tower(), mapping=dict(head(), tower=OpenCLIPText(other)))
    with pytest.raises(ValueError, match='other frozen weights'):
        Bank(template).add('a', tmp_path / 'a.safetensors')


def test_label_mappings_beside_linear_heads(tmp_path):
    models = {}
    for kind in class_mappings():
        mapping = MAPPINGS.get(kind)(3)
        model = vptx.attach(tiny(), dict(type='BorderPrompter', width=4), mapping=mapping)
        if hasattr(mapping, 'estimate'):
            mapping.estimate(torch.rand(CLASSES, 3, generator=torch.Generator().manual_seed(1)))
        models[kind] = model
    models['several'] = vptx.attach(
        tiny(), dict(type='DeepPrompter', num_tokens=2), mapping=dict(type='RandomMapping', num_classes=3, per_class=2)
    )
    models['linear'] = vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=2), tune=['head'])
    models['the_network_itself'] = vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=2))
    bank = Bank(tiny(), tmp_path / 'bank')
    for model in models.values():
        drawn(model)
    save = partial(vptx.save_prompt, classes=['a', 'b', 'c'])
    batch, asked = images(len(models)), list(models)
    for name, model in models.items():
        (save if model.mapping.num_classes else vptx.save_prompt)(model, tmp_path / f'{name}.safetensors')
        bank.add(name, tmp_path / f'{name}.safetensors')
    for row, (name, logits) in enumerate(zip(asked, bank.predict(batch, asked), strict=True)):
        wanted = models[name](batch[row : row + 1])[0].detach()
        torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f'{name}: {text}')


def classifier(classes: int) -> nn.Module:
    from mmengine.registry import DefaultScope
    from mmpretrain.registry import MODELS

    net = dict(type='TimmViT', model='vit_mini_patch8_64', img_size=SIZE, embed_dim=WIDTH, depth=2, num_heads=2)
    config = dict(
        type='ImageClassifier',
        data_preprocessor=dict(num_classes=classes, mean=[127.5] * 3, std=[127.5] * 3, to_rgb=False),
        backbone=dict(type='PromptedBackbone', net=net),
        head=dict(type='LinearClsHead', num_classes=classes, in_channels=WIDTH),
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        torch.manual_seed(0)
        model = MODELS.build(config)
    assert isinstance(model, ImageClassifier)
    return model


def test_classifiers_of_mmpretrain(tmp_path):
    deep = dict(type='DeepPrompter', num_tokens=2)
    bank = Bank(vptx.attach(classifier(3), deep, tune=['head']), tmp_path / 'bank')
    models = {
        'deep': vptx.attach(classifier(3), deep, tune=['head']),
        'probe': vptx.attach(classifier(5), None, tune=['head']),
    }
    check(bank, {name: drawn(model) for name, model in models.items()}, tmp_path)
    frozen = vptx.attach(classifier(3), deep)
    vptx.save_prompt(frozen, tmp_path / 'frozen.safetensors')
    with pytest.raises(ValueError, match='has no head'):
        bank.add('frozen', tmp_path / 'frozen.safetensors')
