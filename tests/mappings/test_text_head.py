"""A text head on an image tower: open_clip's logits, files, other classes, and what must not go together."""

import sys
from copy import deepcopy

import pytest
import runs
import torch
from clips import DEPTH, EMBED, NAMES, head, image_tower, prompted, tiny_clip, tokenize
from mmengine.config import Config
from networks import CLASSES, images, tiny
from safetensors.torch import load_file, save_file
from torch import nn

import vptx
from vptx.attach import find_prompted_network
from vptx.backbones import OpenCLIPText
from vptx.checkpoint import check_classes
from vptx.prompt_file import read_prompt, write_prompt

CONTEXT = dict(type='ContextPrompter', num_tokens=4)
TEMPLATES = [f'a photo of a {name}.' for name in NAMES]


@torch.no_grad()
def test_zero_shot_is_open_clip():
    image, clip = images(3), tiny_clip()
    expected = clip.get_logits(image, tokenize(TEMPLATES))[0]
    torch.testing.assert_close(prompted()(image), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(prompted(whole=True)(image), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(prompted(scale=7.0)(image), expected / clip.logit_scale.exp() * 7, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_linear_layer_has_the_same_logits():
    model, image = prompted(CONTEXT), images(3)
    linear = model.mapping.linear()
    assert isinstance(linear, nn.Linear)
    embedding = torch.nn.functional.normalize(model.forward_unmapped(image), dim=-1)
    torch.testing.assert_close(linear(embedding), model(image), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.mapping.matrix(), linear.weight.T)


def test_lengths_of_embeddings_do_not_count():
    head, x = prompted().mapping, torch.randn(3, EMBED)
    torch.testing.assert_close(head(x), head(7 * x))


@pytest.mark.parametrize('image', [None, dict(type='DeepPrompter', num_tokens=2), dict(type='BorderPrompter', width=4)])
def test_what_trains_and_what_is_frozen(image):
    model = prompted(CONTEXT, image).train()
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert 'mapping.text.prompter.context' in names
    assert all(name.startswith(('prompter.', 'mapping.text.prompter.')) for name in names)
    assert not any('net' in name for name in model.mapping.state_dict())
    assert not any(module.training for module in model.mapping.text.net.modules())
    assert model.mapping.text.prompter.training
    before = deepcopy(model.mapping.text.net.model.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    first = model(images(3))
    nn.functional.cross_entropy(first, torch.tensor([0, 1, 2])).backward()
    optimizer.step()
    assert all(parameter.grad is not None for parameter in optimizer.param_groups[0]['params'])
    after = model.mapping.text.net.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(model.eval()(images(3)), first)  # evaluated after a step, features are new


def test_a_file_has_the_prompts_alone_and_serves_other_classes(tmp_path):
    image, path = images(2), tmp_path / 'prompt.safetensors'
    model = prompted(dict(CONTEXT, depth=DEPTH), dict(type='DeepPrompter', num_tokens=2), seed=1)
    vptx.save_prompt(model, path)
    tensors = load_file(path)
    assert sum(tensor.numel() for tensor in tensors.values()) == 4 * 32 * DEPTH + 2 * 2 * 32
    other = prompted(dict(CONTEXT, depth=DEPTH), dict(type='DeepPrompter', num_tokens=2), names=['owl', 'cat'], seed=2)
    facts = vptx.load_prompt(other, path)
    assert facts['mapping']['classes'] == facts['classes'] == list(NAMES)
    model.mapping.set_classes(['owl', 'cat'])
    with torch.no_grad():
        assert torch.equal(other(image), model(image))
    other.mapping.set_classes(NAMES)
    assert other(image).shape == (2, len(NAMES)) and other.mapping.num_classes == len(NAMES)
    # Prompts go to other classes with head=False, too: they are no head.
    fresh = prompted(dict(CONTEXT, depth=DEPTH), dict(type='DeepPrompter', num_tokens=2), names=['owl', 'cat'], seed=3)
    vptx.load_prompt(fresh, path, head=False)
    assert torch.equal(fresh(image), model(image))


def test_without_class_names_there_are_no_scores_until_there_are_some(tmp_path):
    image, path = images(2), tmp_path / 'prompt.safetensors'
    model = prompted(CONTEXT, seed=1)
    vptx.save_prompt(model, path)

    def unnamed(prompter=CONTEXT):
        return vptx.attach(image_tower(), mapping=dict(head(prompter), classes=None)).eval()

    other = unnamed()
    assert other.mapping.class_names == () and other.mapping.facts()['classes'] == []
    with pytest.raises(RuntimeError, match='TextHead has no class names yet: give it classes='):
        other(image)
    vptx.save_prompt(other, tmp_path / 'unnamed.safetensors')
    vptx.load_prompt(unnamed(), tmp_path / 'unnamed.safetensors')
    vptx.load_prompt(other, path)
    assert other.mapping.class_names == NAMES and torch.equal(other(image), model(image))
    named = unnamed()
    named.mapping.set_classes(['owl', 'cat'])
    vptx.load_prompt(named, path)
    assert named.mapping.class_names == ('owl', 'cat')  # those that were given stay
    read = unnamed()
    check_classes(read, ['owl', 'night_hawk'], 'Birds')
    assert read.mapping.class_names == ('owl', 'night hawk') and read(image).shape == (2, 2)
    with pytest.raises(ValueError, match=r'learns vectors for each class, .* give the head their names'):
        unnamed(dict(CONTEXT, class_specific=True))
    tensors, facts = read_prompt(path)
    for classes, message in [(['owl ' * 80], 'is too long'), ([''], "'' is none"), ('owl', 'must be a list')]:
        facts['mapping']['classes'] = classes
        write_prompt(path, tensors, facts)
        fresh = unnamed()
        with pytest.raises(ValueError, match=rf'^{path}: .*{message}'):
            vptx.load_prompt(fresh, path)
        assert fresh.mapping.class_names == ()


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / 'prompt.safetensors'
    vptx.save_prompt(prompted(CONTEXT), path)
    for prompter, message in [
        (dict(CONTEXT, position='front'), 'was trained with prompter_settings=.* of its text head'),
        (dict(CONTEXT, num_tokens=5), r'has mapping.text.prompter.context of shape \(4, 32\) instead of \(5, 32\)'),
        (dict(type='ContextPrompter', words='a photo of a'), 'was trained with prompter_settings='),
        (dict(CONTEXT, class_specific=True), r'of shape \(4, 32\) instead of \(6, 4, 32\)'),
    ]:
        with pytest.raises(ValueError, match=message):
            vptx.load_prompt(prompted(prompter), path)
    other = prompted(CONTEXT)
    with torch.no_grad():
        other.mapping.text.net.model.ln_final.weight.add_(1)
    with pytest.raises(ValueError, match=r'other frozen weights.*fingerprint of its text'):
        vptx.load_prompt(other, path)


def test_a_tokenizer_that_is_not_that_of_the_file(tmp_path, monkeypatch):
    vptx.save_prompt(prompted(CONTEXT), tmp_path / 'prompt.safetensors')
    monkeypatch.setattr(OpenCLIPText, 'vocabulary', 'another')
    with pytest.raises(ValueError, match=r"was trained with vocabulary='.{16}' of its text head, .* has 'another'"):
        vptx.load_prompt(prompted(CONTEXT), tmp_path / 'prompt.safetensors')


def test_contexts_of_each_class_serve_these_classes_alone(tmp_path):
    path, prompter = tmp_path / 'prompt.safetensors', dict(CONTEXT, class_specific=True)
    model = prompted(prompter)
    vptx.save_prompt(model, path)
    fresh = prompted(prompter, seed=1)
    vptx.load_prompt(fresh, path)
    assert torch.equal(fresh(images()), model(images()))
    with pytest.raises(ValueError, match=r'was trained with classes=\[.*\] of its text head'):
        vptx.load_prompt(prompted(prompter, names=NAMES[::-1]), path)
    with pytest.raises(ValueError, match='has learnt vectors for each of its 6 classes'):
        model.mapping.set_classes(['owl'])


def test_copied_detached_and_attached_again():
    model, image = prompted(CONTEXT), images()
    expected = model(image)
    assert torch.equal(deepcopy(model)(image), expected)
    mapping, library = model.mapping, vptx.detach(model)
    assert torch.equal(library(image), image_tower()(image))
    assert torch.equal(vptx.attach(library, mapping=mapping).eval()(image), expected)


def test_the_tower_follows_to_another_type_of_numbers():
    model = prompted(CONTEXT).double()
    assert model(images().double()).dtype == torch.float64
    half = prompted().bfloat16()
    assert half(images().bfloat16()).dtype == torch.bfloat16


def test_a_network_of_another_width_is_refused():
    with pytest.raises(ValueError, match=f'features of {EMBED} numbers, and the image network gives {CLASSES}: build'):
        vptx.attach(tiny(), mapping=head())
    with pytest.raises(ValueError, match="reads the network's own logits"):
        vptx.attach(image_tower(), mapping=head(), readout='cls')
    with pytest.raises(ValueError, match=r'enters by tokens, words, but .* has no door words'):
        vptx.attach(image_tower(), CONTEXT)
    with pytest.raises(ValueError, match='scale must be a number above 0'):
        vptx.attach(image_tower(), mapping=head(scale=0))


def test_names_and_labels_of_data():
    model = prompted()
    check_classes(model, [name.replace(' ', '_') for name in NAMES], 'Animals')
    with pytest.raises(ValueError, match='has 5 classes, the mapping num_classes=6'):
        check_classes(prompted(), NAMES[:5], 'Animals')
    with pytest.raises(ValueError, match='the same classes in another order'):
        check_classes(prompted(), NAMES[::-1], 'Animals')
    check_classes(prompted(), [f'n0{i}' for i in range(6)], 'Numbers')  # other words for the same
    model.mapping.set_classes([f'name {i}' for i in range(991)])
    with pytest.raises(ValueError, match='has 1000 classes, the mapping num_classes=991'):
        check_classes(model, [f'n0{i}' for i in range(1000)], 'ImageNet')


def test_without_open_clip_there_is_one_error(monkeypatch):
    monkeypatch.setitem(sys.modules, 'open_clip', None)
    with pytest.raises(ImportError, match=r"pip install 'vptx\[clip\]'"):
        vptx.attach(tiny(), mapping=dict(type='TextHead', tower=dict(width=64), classes=['a']))


def test_prompts_of_the_first_layer_go_through_the_norm_in_front_as_published():
    """Positions, prompts at the end, norm, layers; and, as they stand behind the class token here, to rounding."""
    model, image = prompted(image=dict(type='DeepPrompter', num_tokens=3, embedded=True, init='normal')), images()
    vit, rows = model.net.model, model.prompter.embedding.rows
    x = vit._pos_embed(vit.patch_embed(image))
    x = vit.norm_pre(torch.cat([x, rows[0].expand(2, -1, -1)], 1))
    for layer, block in enumerate(vit.blocks):
        if layer:
            x = torch.cat([x[:, :-3], rows[layer].expand(2, -1, -1)], 1)
        x = block(x)
    torch.testing.assert_close(model.forward_unmapped(image), vit.forward_head(vit.norm(x)), rtol=1e-5, atol=1e-5)
    raw = prompted(image=dict(type='DeepPrompter', num_tokens=3, init='normal'))
    raw.prompter.load_state_dict(model.prompter.state_dict())
    assert not torch.allclose(raw(image), model(image), atol=1e-3)
    with torch.no_grad():
        raw.prompter.embedding.rows[0].copy_(vit.norm_pre(rows[0]))
    torch.testing.assert_close(raw(image), model(image), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(vptx.fold(model)(image), raw(image), rtol=1e-5, atol=1e-5)


def test_one_hook_trains_it_and_its_file_serves_other_classes(tmp_path):
    """By a config, with a tower from a file; then back from config and file."""
    weights = tmp_path / 'clip.safetensors'
    save_file({name: tensor.contiguous() for name, tensor in tiny_clip().state_dict().items()}, weights)
    vit = runs.write_weights(tmp_path / 'vit.pth', num_classes=EMBED)
    tower = dict(width=32, heads=2, layers=DEPTH, embed=EMBED, pretrained=str(weights))
    mapping = dict(type='TextHead', tower=tower, classes=list(runs.CLASSES), prompter=CONTEXT)
    changes = dict(
        model=dict(
            backbone=dict(net=runs.net(num_classes=EMBED, weights=str(vit))),
            head=dict(_delete_=True, type='ClsHead', loss=dict(type='CrossEntropyLoss')),
        ),
        hooks=[runs.hook(dict(type='DeepPrompter', num_tokens=2), (), mapping=mapping)],
    )
    trained = runs.runner(tmp_path / 'work', **changes)
    trained.train()
    trained.test()
    path = runs.newest(tmp_path / 'work')
    tensors, facts = read_prompt(path)
    assert {name.partition('.')[0] for name in tensors} == {'prompter', 'mapping'}
    assert sum(tensor.numel() for tensor in tensors.values()) < 1000
    assert facts['mapping']['classes'] == list(runs.CLASSES)
    model = vptx.init_model(Config(runs.tiny_config(tmp_path / 'work', **deepcopy(changes))), path)
    context = find_prompted_network(trained.model).mapping.text.prompter.context
    assert torch.equal(find_prompted_network(model).mapping.text.prompter.context, context)
    assert model.dataset_meta['classes'] == list(runs.CLASSES)
    find_prompted_network(model).mapping.set_classes(['striped', 'bright'])
    assert model(images(2), mode='tensor').shape == (2, 2)
