"""What a benchmark measures: counts worked out by hand, and times of a tiny network."""

import json
import runpy
import sys
import weakref
from pathlib import Path

import pytest
import torch
from networks import CLASSES, DEPTH, GRID, PATCH, WIDTH, images, tiny
from torch import nn

import vptx
from vptx.benchmark.speed import Method, Result, candidates, count_flops, kept_bytes, markdown, measure, read_methods

TOOL = Path(__file__).parents[2] / 'tools' / 'benchmark.py'
TOKENS = 1 + GRID**2
DEEP = dict(type='DeepPrompter', num_tokens=3)


def test_bytes_that_autograd_keeps():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 5))

        def forward(self, x):
            y = x @ self.weight  # keeps x; the weight is a parameter
            return y.exp() * y.view(-1).view_as(y).cos()  # exp's result, cos's argument y, and cos's result

    x = torch.randn(3, 4)
    assert kept_bytes(Two(), x) == 4 * (3 * 4 + 3 * 3 * 5)
    assert kept_bytes(nn.Linear(4, 5).requires_grad_(False), x) == 0


def test_what_was_counted_is_freed():
    """A reference cycle through what autograd keeps would leave a batch of activations in memory for every network."""
    seen = []

    class Exp(nn.Module):
        def forward(self, x):
            y = x.exp()  # keeps its own result
            seen.append(weakref.ref(y.untyped_storage()))
            seen.append(weakref.ref(y))
            return y * 2

    kept_bytes(Exp(), torch.randn(3, 4, requires_grad=True))
    assert [ref() for ref in seen] == [None, None]


def layer(queries: int, keys: int) -> int:
    """Multiply-adds of the products of a layer, by the book."""
    return WIDTH * WIDTH * (3 * keys + (1 + 2 * 4) * queries) + 2 * queries * keys * WIDTH


def test_multiply_adds_are_those_of_the_products():
    """fvcore counts norms too: less than one in twenty here."""
    image = images(1)
    embed, head = 3 * PATCH**2 * WIDTH * GRID**2, WIDTH * CLASSES
    every = embed + DEPTH * layer(TOKENS, TOKENS) + head
    assert every <= count_flops(tiny(), image) < 1.05 * every
    ways = {
        way.name: count_flops(way.model.eval(), image) for way in candidates(tiny(), dict(deep=Method(DEEP, ['head'])))
    }
    assert ways['frozen'] == ways['full'] == count_flops(tiny(), image)
    concatenated = embed + DEPTH * layer(TOKENS + 3, TOKENS + 3) + head
    assert concatenated <= ways['deep, concatenated'] < 1.05 * concatenated
    # Of the last layer, next to nothing.
    ours = embed + (DEPTH - 1) * (layer(TOKENS, TOKENS) + 2 * TOKENS * 3 * WIDTH) + head
    assert ours < ways['deep'] < 0.85 * ways['frozen']


def test_candidates_share_weights_and_take_turns():
    network = tiny()
    found = candidates(network, dict(deep=Method(DEEP, ['head']), linear=Method(None, ['head'])))
    assert [way.name for way in found] == ['frozen', 'full', 'deep', 'deep, concatenated', 'linear']
    weight = network.blocks[0].mlp.fc1.weight
    assert all(any(parameter is weight for parameter in way.model.parameters()) for way in found)
    for way in (*found, *found):
        with way.turn(training=True):
            assert weight.requires_grad is (way.name == 'full')
            way.model(images()).sum().backward()
        grads = [parameter for parameter in way.model.parameters() if parameter.grad is not None]
        assert {id(p) for p in grads} == {id(p) for p in way.trains}
        way.model.zero_grad()
    with torch.no_grad():
        ours, theirs = (way.model.prompter.embedding.rows for way in found[2:4])
        for a, b in zip(ours, theirs, strict=True):
            b.copy_(a)
        for way in found[2:4]:
            with way.turn(training=False):
                pass
        torch.testing.assert_close(found[2].model(images()), found[3].model(images()))
    assert found[2].model.folded == {0, 1, 2}


def test_deep_prompts_keep_less_than_the_frozen_network():
    """However many: no key and no value of a prompt is there more than once for the batch."""
    ways = candidates(tiny(), dict(deep=Method(dict(DEEP, num_tokens=20), ['head'])))
    kept = {}
    for way in ways:
        with way.turn(training=True):
            kept[way.name] = kept_bytes(way.model, images(8))
    assert kept['deep'] < kept['frozen'] < kept['deep, concatenated']


def test_ratios_are_those_of_rounds():
    floors = dict(floor_train=[1.0, 2.0, 4.0], floor_infer=[1.0, 1.0, 1.0], flops=10**9, values=5)
    frozen = Result('frozen', train=[1.0, 2.0, 4.0], infer=[1.0, 1.0, 1.0], kept=10, **floors)
    other = Result('other', train=[2.0, 3.0, 4.0], infer=[0.5, 0.5, 2.0], kept=5, trained=7, **floors)
    assert markdown([frozen, other]).splitlines()[3] == (
        '| other | 3000 | 1.500 | 500 | 0.500 | 0 | 0.500 | 1.00 | 7 |'
    )


@pytest.mark.parametrize('clock', ['wall', 'cpu'])
def test_everyone_is_timed_in_every_round(clock):
    said = []
    found = candidates(tiny(), dict(deep=Method(DEEP, [])))
    results = measure(found, images(), 2, torch.bfloat16, clock, lambda number, so_far: said.append(number))
    assert said == [1, 2]
    for result in results:
        assert len(result.train) == len(result.infer) == 2
        assert min(result.train + result.infer) > 0
        assert result.peak is None and result.flops > 0
    assert results[2].trained == DEPTH * 3 * WIDTH


def test_the_frozen_network_next_to_each():
    found = candidates(tiny(), dict(deep=Method(DEEP, []), none=Method(None, ['head'])), baselines=False)
    assert [way.name for way in found] == ['frozen', 'deep', 'none']
    apart, shared = measure(found, images(), 2, interleave=True), measure(found, images(), 2)
    assert shared[1].floor_train == shared[0].train == shared[0].floor_train
    assert len(apart[1].floor_infer) == 2 and apart[1].floor_train != apart[0].train != apart[2].floor_train


@pytest.mark.parametrize('kind', ['LoRA', 'SSF', 'RepAdapter', 'FacT'])
def test_what_can_be_merged_is_for_inference_alone(kind):
    network = tiny()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    _, way = candidates(network, dict(method=Method(dict(type=kind), ['head'])), baselines=False)
    with torch.no_grad():
        for parameter in way.trains:
            parameter.add_(0.1 * torch.randn_like(parameter))
    with way.turn(training=True):
        expected = way.model.eval()(images())
    with way.turn(training=False):
        assert way.model.merged is not None and not way.model.prompter.doors
        torch.testing.assert_close(way.model(images()), expected, atol=1e-4, rtol=1e-4)
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items() if 'head' not in name)


def test_a_method_is_read_as_its_config_has_it():
    folder = Path(__file__).parents[2] / 'configs' / '_base_' / 'prompters'
    methods = read_methods([folder / 'l2p.py', folder / 'gated.py'], [], {})
    assert methods['l2p'].readout == 'prompts' and methods['gated'].prompter['num_tokens'] == 100


def test_the_tool_leaves_table_numbers_and_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys,
        'argv',
        f'benchmark.py --nets vit_tiny_patch16_224 --net-options depth=1 embed_dim=12 --size 32 --batch 2 --classes 3 '
        f'--methods deep linear --prompts 2 4 --options dropout=0.0 --rounds 1 --threads 1 --out {tmp_path}'.split(),
    )
    runpy.run_path(str(TOOL), run_name='__main__')
    table = (tmp_path / 'table.md').read_text()
    assert table in capsys.readouterr().out
    names = [line.split('|')[1].strip() for line in table.splitlines()[4:]]
    deep = [f'deep, {p} prompts{form}' for p in (2, 4) for form in ('', ', concatenated')]
    assert names == ['frozen', 'full', *deep, 'linear']
    found = json.loads((tmp_path / 'benchmark.json').read_text())
    assert found['settings']['batch'] == 2 and found['settings']['options'] == dict(dropout=0.0)
    assert [result['name'] for result in found['results']['vit_tiny_patch16_224']] == names
    assert (tmp_path / 'benchmark.png').read_bytes()[1:4] == b'PNG'


def test_a_method_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match='calls no such module'):
        candidates(tiny('swin v2'), dict(lora=Method(dict(type='LoRA'), ['head'])))
    assert vptx.attach(tiny('swin'), DEEP)


def test_every_method_with_a_config_is_read():
    folder = Path(__file__).parents[2] / 'configs' / '_base_' / 'prompters'
    methods = read_methods(sorted(folder.glob('*.py')), [7], dict(dropout=0.0))
    deep = methods['deep, 7 prompts'].prompter
    assert deep['dropout'] == 0
    several, tune, _ = methods['e2vpt']
    assert [prompter['type'] for prompter in several] == ['PrefixPrompter', 'DeepPrompter'] and tune == ['head']
    assert several[1]['dropout'] == 0 and several[1]['num_tokens'] == 10
