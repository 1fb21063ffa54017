"""The text side: the same numbers as the published way, where they can be shared and where they cannot."""

import re

import pytest
import torch
from clips import DEPTH, EMBED, NAMES, WIDTH, reference, side, tiny_clip, tokenize
from torch import Tensor

from vptx.backbones import OpenCLIPText
from vptx.prompters import Prompter
from vptx.text import PromptedText

CONTEXT = dict(type='ContextPrompter', num_tokens=4)
#: Whatever acts on a text tower, one way or the other.
PROMPTERS = {
    'M = 1': dict(CONTEXT, num_tokens=1),
    'M = 4': CONTEXT,
    'M = 16': dict(CONTEXT, num_tokens=16),
    'middle': dict(CONTEXT, num_tokens=5, position='middle'),
    'front': dict(CONTEXT, position='front'),
    'of each class': dict(CONTEXT, class_specific=True),
    'of each class, in front': dict(CONTEXT, class_specific=True, position='front'),
    'deep': dict(CONTEXT, depth=DEPTH),
    'some deep': dict(CONTEXT, depth=2),
    'DeepPrompter': dict(type='DeepPrompter', num_tokens=4),
    'shallow': dict(type='ShallowPrompter', num_tokens=4),
    'some layers': dict(type='DeepPrompter', num_tokens=4, layers=[1], carry=False),
    'LoRA': dict(type='LoRA', rank=2, targets=['q', 'k', 'v', 'proj', 'fc1', 'fc2']),
    'Adapter': dict(type='Adapter', after=('attn', 'mlp')),
    'AdapterPlus': dict(type='AdapterPlus', rank=4),
    'prefix': dict(type='PrefixPrompter', num_tokens=3),
    'FacT': dict(type='FacT', rank=2),
    'cross': dict(type='CrossPrompter', num_tokens=3),
    'stack': [dict(type='LoRA', rank=2), dict(CONTEXT, depth=2)],
}
every_prompter = pytest.mark.parametrize('kind', PROMPTERS)


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def learnt(text: PromptedText) -> PromptedText:
    """As after some training."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in text.prompter.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return text


def features_and_gradients(text: PromptedText) -> list[Tensor]:
    features = text()
    weight = torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    (features * weight).sum().backward()
    return [features, *(parameter.grad for parameter in text.prompter.parameters())]


@pytest.mark.parametrize('template', ['a photo of a {}.', '{}', 'itap of my {}, a type of pet.'])
def test_without_a_prompter_it_is_open_clip(template):
    expected = reference(template)
    assert torch.equal(side(template=template, whole=True)(), expected)
    assert relative(side(template=template)(), expected) < 1e-5


@pytest.mark.parametrize('words', ['a photo of a', 'a photo-realistic photo of a'])
@pytest.mark.parametrize('class_specific', [False, True])
def test_words_are_the_template_until_they_train(words, class_specific):
    """Of several tokens, too; names that end in a bracket, and fewer vectors than words."""
    for number in (None, 2):
        prompter = dict(type='ContextPrompter', words=words, num_tokens=number, class_specific=class_specific)
        expected = reference(words + ' {}.')
        assert torch.equal(side(prompter, whole=True)(), expected)
        assert relative(side(prompter)(), expected) < 1e-5


def test_an_ensemble_is_the_average_of_normalised_or_raw_features():
    templates = ['a photo of a {}.', 'a drawing of a {}.']
    clip = tiny_clip()
    raw = [clip.encode_text(tokenize([text.format(name) for name in NAMES])) for text in templates]
    for average, parts in dict(
        raw=raw, normalised=[torch.nn.functional.normalize(part, dim=-1) for part in raw]
    ).items():
        expected = torch.nn.functional.normalize(sum(parts), dim=-1)
        assert relative(side(template=templates, average=average)(), expected) < 1e-5


@every_prompter
@pytest.mark.parametrize('rows', [4096, 20])
def test_shared_rows_run_once_with_the_same_features_and_gradients(kind, rows):
    """In parts that are computed again in the backward pass, too."""
    texts = [learnt(side(PROMPTERS[kind], whole=whole)) for whole in (True, False)]
    texts[1].rows = rows
    whole, shared = map(features_and_gradients, texts)
    assert whole[0].shape == (len(NAMES), EMBED)
    for found, expected in zip(shared, whole, strict=True):
        assert expected.abs().max() > 1e-4
        assert relative(found, expected) < 1e-5
    assert relative(whole[0], reference()) > 1e-3


@pytest.mark.parametrize('kind', ['M = 1', 'M = 4', 'M = 16', 'some deep'])
def test_shared_rows_are_as_near_to_the_gradients_of_double_precision_as_the_published_way(kind):
    """There the two agree. In single precision either is 1e-6 to 2e-6 of the largest gradient away from them."""
    exact, other = (features_and_gradients(learnt(side(PROMPTERS[kind], whole=whole)).double()) for whole in (1, 0))
    published, shared = (features_and_gradients(learnt(side(PROMPTERS[kind], whole=whole))) for whole in (1, 0))
    for a, b, c, d in zip(exact, other, published, shared, strict=True):
        assert relative(b, a) < 1e-12
        assert relative(d.double(), a) < max(1e-6, 2 * relative(c.double(), a)) < 5e-6


@pytest.mark.parametrize('options', [{}, dict(layers=[0, 1], carry=False)])
def test_memory_is_tokens_and_the_start_of_a_text_does_not_see_it(options):
    prompter = dict(type='DeepPrompter', num_tokens=4, **options)
    by_memory, by_tokens = side(prompter, whole=True), side(prompter, whole=True)
    by_tokens.prompter._by_memory = frozenset()
    by_tokens.prompter._leaving = frozenset(by_tokens.prompter.layers)
    assert by_memory.prompter._by_memory
    assert relative(by_memory(), by_tokens()) < 1e-5


def test_deep_prompts_of_the_first_layer_are_words_with_their_positions():
    """DeepPrompter in front of the first layer is CoOp, as the name leaves a gap for it."""
    words = side(dict(CONTEXT))
    tokens = side(dict(type='ShallowPrompter', num_tokens=4), template='{}.')
    with torch.no_grad():
        tokens.prompter.embedding.rows[0].copy_(words.prompter.context)
    assert relative(tokens(), words()) < 1e-5


def test_contexts_of_each_class_that_are_equal_are_one():
    one, each = side(CONTEXT, whole=True), side(dict(CONTEXT, class_specific=True), whole=True)
    with torch.no_grad():
        each.prompter.context.copy_(one.prompter.context)
    assert each.prompter.context.shape == (len(NAMES), 4, WIDTH)
    assert torch.equal(one(), each())
    order = torch.randperm(len(NAMES))
    other = side(CONTEXT, [NAMES[i] for i in order], whole=True)
    assert torch.equal(other(), one()[order])


@torch.no_grad()
def test_what_is_behind_the_end_of_a_text_changes_nothing_and_its_start_is_a_constant():
    net = OpenCLIPText(tiny_clip())
    ids = tokenize(['a photo of a cat.', 'nothing'])
    junk, cut = ids.clone(), int(ids.argmax(1).max()) + 1
    for row, last in zip(junk, ids.argmax(1), strict=True):
        row[last + 1 :] = torch.randint(1, 49000, (76 - int(last),))

    from vptx.backbones.open_clip_text import TextContext

    def layers(ids: Tensor) -> tuple[Tensor, list[Tensor]]:
        tokens, starts = net.place(net.vectors(ids)), []
        for layer in range(DEPTH):
            tokens = net.block(tokens, layer, TextContext((ids.shape[1] - 1, 1)))
            starts.append(tokens[:, 0])
        return tokens, starts

    rows = ids.argmax(1)
    (tokens, starts), (others, _), (short, _) = layers(ids), layers(junk), layers(ids[:, :cut])
    assert torch.equal(tokens[range(2), rows], others[range(2), rows])
    assert relative(short[range(2), rows], tokens[range(2), rows]) < 1e-5
    assert all(torch.equal(start[0], start[1]) for start in starts)


class EachRow(Prompter):
    """Of a user: looks at all rows of a text, so that nothing of it can be shared."""

    doors = frozenset({'tokens'})

    def bind(self, geometry, reads_prompts=False):
        self.mix = torch.nn.Parameter(torch.ones(geometry.widths[0]))

    def before_layer(self, tokens, at):
        return tokens + 0.1 * self.mix * tokens.mean(1, keepdim=True)


def test_a_prompter_that_looks_at_all_rows_gets_them():
    text = side(EachRow())
    assert not text.prompter.shares_prefix
    assert relative(side(EachRow(), [NAMES[0]])(), text()[:1]) > 1e-4  # it sees the padding of its text


class FromImage(Prompter):
    """Of a user: contexts of each image, as in CoCoOp."""

    doors, phrase, slots = frozenset({'words'}), 'X X', 2
    takes_note, shares_prefix = True, True

    def bind(self, geometry, reads_prompts=False):
        self.context = torch.nn.Parameter(torch.randn(2, geometry.widths[0]))
        self.shift = torch.nn.Linear(EMBED, geometry.widths[0])

    def words(self, at):
        return (self.context + self.shift(at.note)[:, None])[:, None]


def test_contexts_of_each_image():
    note = torch.randn(3, EMBED)
    text, whole = side(FromImage()), side(FromImage(), whole=True)
    found = text(note)
    assert found.shape == (3, len(NAMES), EMBED)
    assert relative(found, whole(note)) < 1e-5
    for one, expected in zip(note, found, strict=True):
        same = side(dict(type='ContextPrompter', num_tokens=2))
        with torch.no_grad():
            same.prompter.context.copy_(text.prompter.words(text._at(0, (1, 1), None, one[None]))[0, 0])
        assert relative(same(), expected) < 1e-5


@torch.no_grad()
def test_features_are_computed_once_and_never_stale():
    text = side(CONTEXT).eval()
    first = text()
    assert text() is first and torch.equal(first, side(CONTEXT)())
    text.prompter.context.add_(0.1)  # as an optimizer does
    second = text()
    assert not torch.equal(second, first)
    text.load_state_dict(side(CONTEXT).state_dict())
    assert torch.equal(text(), first)
    text.set_classes(NAMES[:2])
    assert text().shape == (2, EMBED)
    text.double()
    assert text().dtype == torch.float64
    text.net.model.ln_final.weight.add_(1)
    assert not torch.equal(text(), second[:2].double())


def test_features_of_the_frozen_tower_are_those_without_the_prompter():
    for prompter in (CONTEXT, PROMPTERS['LoRA']):
        text = learnt(side(prompter))
        assert relative(text.frozen(), reference()) < 1e-5
        assert relative(text.frozen('a drawing of a {}.'), reference('a drawing of a {}.')) < 1e-5
        assert not text.frozen().requires_grad and text().requires_grad


@torch.no_grad()
def test_features_of_the_frozen_tower_are_computed_once_whatever_the_prompter_learns():
    text = side(CONTEXT)
    first = text.frozen('imagenet')
    learnt(text).train()
    assert text.frozen('imagenet') is first
    assert text.frozen('imagenet', 'raw') is not first and text.frozen('imagenet') is first
    text.net.model.text_projection.add_(1)
    assert not torch.equal(text.frozen('imagenet'), first)


def test_two_heads_on_one_tower_do_not_mix():
    net = OpenCLIPText(tiny_clip())
    texts = [PromptedText(net, NAMES, prompter=PROMPTERS['Adapter']) for _ in range(2)]
    for text in texts:
        text.start()
    learnt(texts[0])
    assert relative(texts[1](), reference()) < 1e-5


def test_other_classes_without_training():
    text = side(CONTEXT).eval()
    with torch.no_grad():
        text.set_classes([*NAMES, 'owl'])
        whole = text()
        text.set_classes(['owl'])
        assert relative(text(), whole[-1:]) < 1e-5
        text.set_classes(['owl', 'owl'])
        assert torch.equal(text()[0], text()[1])


@pytest.mark.parametrize(
    'classes, message',
    [
        ([], 'at least one class name'),
        ('cat', "a list of at least one class name, not 'cat'"),
        (['cat', 3], '3 is none'),
        (['cat', ' '], "' ' is none"),
        (
            ['cat', 'owl ' * 75],
            'is too long: with the words around it, it has 82 tokens, and the text tower .* takes 77',
        ),
    ],
)
def test_names_that_are_none(classes, message):
    with pytest.raises(ValueError, match=message):
        side(names=classes)
    with pytest.raises(ValueError, match=message.replace('82', '\\d+')):
        side(CONTEXT).set_classes(classes)


def test_equal_names_are_reported_once_and_stay(monkeypatch):
    said = []
    monkeypatch.setattr('vptx.text.print_log', lambda message, *_: said.append(message))
    text = side(names=['sunglasses', 'cat', 'sun_glasses', 'sun glasses'])
    assert said == ['equal class names, which get equal scores: sun glasses']
    assert text().shape == (4, EMBED) and torch.equal(text()[2], text()[3])
    said.clear()
    text.set_classes([f'{name}{i}' for i in range(7) for name in ('x', 'x')])
    assert said == ['equal class names, which get equal scores: x0, x1, x2, x3, x4 and 2 more']


def test_options_that_cannot_be_meant():
    for options, message in [
        (dict(template='a photo'), 'a template is a text with one {} for the class name'),
        (dict(average='mean'), "average must be one of normalised, raw, not 'mean'"),
        (dict(prompter=dict(type='BorderPrompter')), 'enters by image, but the text tower .* has no door image'),
        (dict(prompter=dict(type='DeepPrompter', init='uniform')), 'is bound by patches|bound of a patch'),
        (dict(prompter=dict(CONTEXT, depth=9)), 'depth=9, but .* has 3 layers'),
        (dict(prompter=dict(CONTEXT, words='a')), "num_tokens=4 vectors cannot start as the 1 words of 'a'"),
        (dict(prompter=dict(CONTEXT, position='left')), 'position must be one of end, middle, front'),
        (dict(prompter=dict(CONTEXT, position='front', depth=2)), 'position='),
        (
            dict(prompter=dict(type='ContextPrompter', words='a photo-realistic photo', position='front')),
            "only position='end' keeps",
        ),
        (dict(prompter=[CONTEXT, CONTEXT]), 'of a stack one may have words of its own'),
    ]:
        with pytest.raises(ValueError, match=message):
            side(**options)
    with pytest.raises(ValueError, match=re.escape('tower must be a config, dict(model=..., pretrained=...)')):
        PromptedText(None, NAMES)
    text = side(dict(CONTEXT, class_specific=True))
    with pytest.raises(ValueError, match='has learnt vectors for each of its 6 classes'):
        text.set_classes(['owl'])
