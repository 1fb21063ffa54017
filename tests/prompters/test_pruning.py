"""Factors of prompts and of their segments, and pruning by them."""

import pytest
import torch
import torch.nn.functional as F
from exact import exact, frozen, pictures, same
from networks import CLASSES, WIDTH

import vptx
from vptx.prompters import DeepPrompter, pruning

LABELS = torch.tensor([0, 1, CLASSES - 1])


def factored(kind: str = 'DeepPrompter', **options) -> torch.nn.Module:
    return exact(kind, num_tokens=4, segments=8, **options)


def test_segments_are_strided():
    embedding = factored().prompter.embedding
    with torch.no_grad():
        embedding.segment_mask.fill_(1)
        embedding.token_mask.fill_(1)
        embedding.segment_mask[2, 3] = 0
    found = embedding.value(0) == 0
    assert found[2].nonzero().flatten().tolist() == list(range(3, WIDTH, 8))
    assert found.sum() == WIDTH // 8


def test_importance_is_the_average_gradient():
    model = factored()
    batches = [(pictures(), LABELS), (pictures().flip(0), LABELS)]
    found = pruning.measure(model, batches, F.cross_entropy, signed=True)
    sizes = pruning.measure(model, batches, F.cross_entropy)
    gradients = []
    for image, label in batches:
        model.zero_grad()
        F.cross_entropy(model(image), label).backward()
        gradients.append(model.prompter.embedding.segment_mask.grad.clone())
    assert same(found.segments, sum(gradients) / 2)
    assert same(sizes.segments, sum(gradient.abs() for gradient in gradients) / 2)
    assert found.tokens.shape == (4,)


def test_pruned_are_those_of_lowest_importance_and_the_rest_trains_on():
    model = factored()
    importance = pruning.Importance(torch.tensor([3.0, 1.0, 2.0, 4.0]), torch.arange(32.0).flip(0).unflatten(0, (4, 8)))
    pruning.prune(model, importance, tokens=2, segments=9)
    embedding = model.prompter.embedding
    assert embedding.token_mask.tolist() == [1, 0, 0, 1]
    assert embedding.segment_mask.flatten().tolist() == [1.0] * 23 + [0.0] * 9
    assert not embedding.token_mask.requires_grad and embedding.rows[0].requires_grad


def test_removing_makes_fewer_prompts_and_another_function():
    model = factored()
    importance = pruning.Importance(torch.arange(4.0), torch.arange(32.0).unflatten(0, (4, 8)))
    pruning.prune(model, importance, tokens=2, segments=20)
    plain, removed = model.prompter.plain(), pruning.remove(model.prompter)
    assert type(removed) is DeepPrompter and removed.num_tokens == 2
    assert torch.equal(removed.embedding.rows[1], plain.embedding.rows[1][2:])
    expected, fewer = model(pictures()), vptx.attach(frozen(), removed).eval()(pictures())
    masked = vptx.attach(frozen(), plain).eval()(pictures())
    assert same(masked, expected)
    assert not same(fewer, expected, 1e-3)


def test_shallow_prompts_are_pruned_too():
    model = factored('ShallowPrompter')
    pruning.prune(model, pruning.Importance(torch.arange(4.0), torch.zeros(4, 8)), tokens=1)
    assert pruning.remove(model.prompter).num_tokens == 3


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (dict(tokens=4), 'of 4 prompts, 0 to 3 can be pruned, not 4'),
        (dict(segments=40), 'of 32 segments, 0 to 31 can be pruned, not 40'),
        (dict(tokens=-1), 'of 4 prompts, 0 to 3 can be pruned, not -1'),
    ],
)
def test_pruning_more_than_there_is(call, message):
    model = factored()
    with pytest.raises(ValueError, match=message):
        pruning.prune(model, pruning.Importance(torch.zeros(4), torch.zeros(4, 8)), **call)
    assert model.prompter.embedding.token_mask.requires_grad


def test_bad_input():
    model = factored()
    with pytest.raises(ValueError, match=r'importance of prompts is of shape \(5,\), and there are .* \(4,\)'):
        pruning.prune(model, pruning.Importance(torch.zeros(5), torch.zeros(4, 8)))
    with pytest.raises(ValueError, match='there is none'):
        pruning.measure(model, [], F.cross_entropy)
    with pytest.raises(ValueError, match=r'has 0 prompters whose prompts have factors'):
        pruning.prune(exact('DeepPrompter'), pruning.Importance(torch.zeros(3), torch.zeros(3, 8)))
    with pytest.raises(ValueError, match=r'segments=5 must be a number that divides the widths'):
        exact('DeepPrompter', segments=5)


def test_factors_of_another_shape_in_a_file(tmp_path):
    vptx.save_prompt(factored(), tmp_path / 'eight.safetensors')
    with pytest.raises(ValueError, match=r'eight\.safetensors does not fit this model: it has .*segment_mask of shape'):
        vptx.load_prompt(exact('DeepPrompter', num_tokens=4, segments=16), tmp_path / 'eight.safetensors')
