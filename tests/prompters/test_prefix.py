"""Raw keys and values: deep prompts as a special case, what zero rows do, and how memories add."""

from math import log

import pytest
import torch
import torch.nn.functional as F
from exact import exact, frozen, pictures, same
from networks import DEPTH, HEADS, WIDTH

import vptx
from vptx.backbones.memory import attend
from vptx.geometry import KeyValue

EACH = WIDTH // HEADS


@pytest.mark.parametrize('network', ['plain', 'query-key norm', 'DINOv3', 'swin'])
def test_keys_and_values_of_deep_prompts_are_deep_prompts(network):
    deep, model = exact('DeepPrompter', network), exact('PrefixPrompter', network)
    with torch.no_grad():
        for layer, row in enumerate(deep.prompter.embedding.rows):
            model.prompter.pairs[layer].copy_(torch.stack(deep.net.keys_values(row, layer)[:2]))
    assert same(model(pictures()), deep(pictures()))


def test_shared_ones_are_keys_and_values():
    model, both = exact('PrefixPrompter', shared=True), exact('PrefixPrompter')
    with torch.no_grad():
        for mine, theirs in zip(model.prompter.pairs, both.prompter.pairs, strict=True):
            theirs.copy_(mine.expand(2, -1, -1, -1))
    assert same(model(pictures()), both(pictures()))


def test_two_prefixes_are_one():
    model, whole = exact([dict(type='PrefixPrompter', num_tokens=number) for number in (2, 3)]), None
    first, second = model.prompter.prompters
    whole = exact('PrefixPrompter', num_tokens=5)
    with torch.no_grad():
        for mine, one, two in zip(whole.prompter.pairs, first.pairs, second.pairs, strict=True):
            mine.copy_(torch.cat([one, two], dim=2))
    assert same(model(pictures()), whole(pictures()))


def test_memories_add_by_the_sums_of_their_exponentials():
    """In any order and grouping."""
    query, key, value = torch.randn(3, 2, HEADS, 5, EACH, dtype=torch.float64)
    memories = [KeyValue(*torch.randn(2, HEADS, number, EACH, dtype=torch.float64)) for number in (2, 4)]
    parts = [KeyValue(key, value), *memories]
    weights, outs = [], []
    for k, v, _ in parts:
        scores = query @ k.mT * EACH**-0.5
        weights.append(scores.logsumexp(-1))
        outs.append(scores.softmax(-1) @ v)
    shares = torch.stack(weights).softmax(0)[..., None]
    expected = (shares * torch.stack(outs)).sum(0).transpose(1, 2).flatten(2)
    for order in (memories, memories[::-1]):
        joined = KeyValue(*(torch.cat(tensors, dim=1) for tensors in zip(*(pair[:2] for pair in order), strict=True)))
        assert same(attend(query, key, value, joined), expected)


def test_zero_rows_are_one_with_a_larger_score():
    """n pruned prompts in E2VPT act as one whose score is log n larger; without them it is another function."""
    query, key, value = torch.randn(3, 1, HEADS, 5, EACH, dtype=torch.float64)
    row = torch.randn(2, HEADS, 1, EACH, dtype=torch.float64)  # that of LN(0) = beta
    many = attend(query, key, value, KeyValue(*row.expand(-1, -1, 7, -1)))
    keys, values = (torch.cat([part[None], own], dim=2) for part, own in zip(row, (key, value), strict=True))
    bias = F.pad(torch.full((1, 1, 5, 1), log(7.0), dtype=torch.float64), (0, 5))
    one = F.scaled_dot_product_attention(query, keys, values, attn_mask=bias).transpose(1, 2).flatten(2)
    assert same(many, one)
    assert not same(attend(query, key, value, None), many, 1e-2)


def test_adding_a_constant_to_all_keys_changes_nothing_unless_some_are_raw():
    changed = []
    for kind in ('DeepPrompter', 'PrefixPrompter'):
        model = exact(kind)
        before = model(pictures())
        with torch.no_grad():
            for block in model.net.model.blocks:
                block.attn.qkv.bias[WIDTH : 2 * WIDTH] += 1.0
        changed.append(not same(model(pictures()), before))
    assert changed == [False, True]


def test_folded_they_are_what_they_are():
    model = exact('PrefixPrompter')
    expected = model(pictures())
    vptx.fold(model)
    assert torch.equal(model(pictures()), expected)
    assert torch.equal(model.key_0, model.prompter.pairs[0][0])


def test_layers():
    model = exact('PrefixPrompter', layers=[-1])
    assert len(model.prompter.pairs) == 1
    assert model.prompter.settings['layers'] == [DEPTH - 1]


def test_what_is_changed_from_inside_is_refused():
    model = vptx.attach(frozen(), [dict(type='PrefixPrompter', num_tokens=3), dict(type='LoRA')])
    with pytest.raises(ValueError, match=r'layer 0 of .* has to be called.* takes no keys and values'):
        model(pictures())
    with pytest.raises(ValueError, match=r'dropout must be in \[0, 1\), not 1'):
        exact('PrefixPrompter', dropout=1)
