"""What is left out because nobody reads it, and that nothing changes by it."""

import pytest
import torch
from networks import DEPTH, GRID, Seen, every_row, images, tiny
from torch.nn.attention import SDPBackend, sdpa_kernel

import vptx
from vptx.backbones import memory as door_3
from vptx.backbones.base import KeyValue
from vptx.prompted import PromptedNetwork
from vptx.prompters import DeepPrompter
from vptx.readout import OWN
from vptx.trainable import matches

TOKENS = 1 + GRID**2
PROMPTERS = {
    'deep': dict(type='DeepPrompter', num_tokens=3),
    'deep, a mask for each': dict(type='DeepPrompter', num_tokens=3, dropout=0.3),
    'shallow': dict(type='ShallowPrompter', num_tokens=3),
    'added': dict(type='AddedPrompter', deep=True),
    'side': dict(type='SideTuning'),
    'pixels too': [dict(type='BorderPrompter', width=2), dict(type='DeepPrompter', num_tokens=3)],
}


def rows_of_mlps(model: PromptedNetwork, image: torch.Tensor | None = None) -> list[int]:
    """How many tokens go through the MLP of each layer."""
    with Seen(torch.nn.functional.gelu) as seen:
        model(images() if image is None else image)
    return [rows for _, rows, _ in seen.shapes]


@pytest.mark.parametrize('network', ['plain', 'no qkv bias', 'distilled', 'clip', 'registers', 'layer scale'])
@pytest.mark.parametrize('prompter', PROMPTERS.values(), ids=PROMPTERS)
def test_rows_that_are_read_are_the_same_without_the_others(network, prompter):
    """Gradients too, of prompts, of a tuned head, of a tuned last layer and of one before it."""
    tune = ['head', rf'blocks\.{DEPTH - 1}', r'blocks\.0\.attn\.qkv', 'norm']
    model = vptx.attach(tiny(network), prompter, tune=tune).double().train()
    assert rows_of_mlps(model, images().double())[-1] == model.net.geometry.prefix
    found = []
    for prompted in (model, every_row(model)):
        torch.manual_seed(0)
        output = prompted(images(3).double())
        output.square().sum().backward()
        found.append((output, {name: p.grad for name, p in prompted.named_parameters() if p.requires_grad}))
    (ours, gradients), (theirs, expected) = found
    assert (ours - theirs).abs().max() < 1e-12 * theirs.abs().max()
    largest = max(g.abs().max() for g in expected.values())
    assert any(matches(rf'blocks\.{DEPTH - 1}', name) for name in gradients)
    for name, gradient in gradients.items():
        assert (gradient - expected[name]).abs().max() < 1e-12 * largest, name


@pytest.mark.parametrize(
    ('network', 'readout', 'rows'),
    [
        ('plain', 'cls', 1),
        ('registers', 'cls', 1),
        ('plain', OWN, 1),
        ('registers', OWN, 5),
        ('plain', 'mean', TOKENS),
        ('plain', 'map', TOKENS),
        ('plain', 'maps', TOKENS),
        ('averaged', OWN, TOKENS),
        ('averaged', 'cls', 1),
        ('query-key norm', 'cls', TOKENS),  # its keys have to be made
    ],
)
def test_what_is_read_decides(network, readout, rows):
    model = vptx.attach(tiny(network), dict(type='DeepPrompter', num_tokens=3), readout=readout).eval()
    seen = rows_of_mlps(model)
    assert seen[-1] == rows
    assert seen[:-1] == [model.net.geometry.tokens] * (DEPTH - 1)
    assert rows_of_mlps(vptx.fold(model)) == seen


@pytest.mark.parametrize('part', ['blocks.2', 'blocks.2.mlp.fc1', 'norm'])
@pytest.mark.parametrize('kind', ['forward', 'forward_pre', 'full_backward'])
def test_who_looks_sees_all_tokens(part, kind):
    model, seen = vptx.attach(tiny(), PROMPTERS['added'], tune=['.*']), []
    module = model.net.model.get_submodule(part)
    handle = getattr(module, f'register_{kind}_hook')(lambda _, first, *more: seen.append(first[0].shape[1]))
    model(images()).sum().backward()
    assert seen == [TOKENS]
    handle.remove()
    assert rows_of_mlps(model)[-1] == 1


@pytest.mark.parametrize('prompter', [None, dict(type='BorderPrompter', width=2, init='zero')])
def test_without_prompts_among_the_tokens_it_is_the_library_bit_for_bit(prompter):
    network, image = tiny(), images()
    expected = network(image)
    model = vptx.attach(network, prompter, readout=OWN)
    assert rows_of_mlps(model)[-1] == TOKENS
    assert torch.equal(model(image), expected)


def test_methods_that_change_the_last_layer_from_inside_see_all_tokens():
    model = vptx.attach(tiny(), dict(type='LoRA'))
    assert rows_of_mlps(model)[-1] == TOKENS


def test_dropout_draws_as_in_the_library():
    """For all tokens, so that a seed gives the same network as ever."""
    model = vptx.attach(tiny('drop path'), PROMPTERS['deep'], tune=['.*'])
    assert rows_of_mlps(model.train())[-1] == TOKENS
    assert rows_of_mlps(model.eval())[-1] == 1


class Average(DeepPrompter):
    """Of a user: the class token becomes the average of all, after the last layer."""

    def after_layer(self, tokens, at):
        return tokens.mean(1, keepdim=True).expand_as(tokens) if at.layer == DEPTH - 1 else tokens


def test_a_prompter_that_looks_at_the_end_sees_all_tokens():
    model = vptx.attach(tiny(), dict(type=Average, num_tokens=3))
    assert rows_of_mlps(model)[-1] == TOKENS
    assert torch.equal(model(images()), every_row(model)(images()))


# No graph where nothing trains


def kept(model: torch.nn.Module) -> int:
    """Number of tensors that autograd keeps for the backward pass."""
    count = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: count.append(1) or tensor, lambda tensor: tensor):
        model(images())
    return len(count)


def test_no_graph_before_the_first_prompts():
    counts = []
    for layers in ([2], [1, 2], [0, 1, 2]):
        torch.manual_seed(0)
        model = vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=3, layers=layers), tune=['head'])
        outputs = []
        for layer, block in enumerate(model.net.model.blocks):
            if layer < layers[0]:
                block.register_forward_hook(lambda _, __, output, outputs=outputs: outputs.append(output.requires_grad))
        counts.append(kept(model))
        assert outputs == [False] * layers[0]
    assert counts[0] < counts[1] < counts[2]
    # Below the last layer's, the two others' costs differ by what the patches of the first do not need.
    assert counts[2] - counts[1] < counts[1]


def test_patches_in_front_of_the_first_prompts_get_no_gradient(monkeypatch):
    """Each layer's attention has a backward pass to its own keys and one to the memory's; the first only the latter,
    the last neither (it makes no keys of its own)."""
    keys, backward = [], door_3._attention_backward

    def counted(*parts, **options):
        keys.append(parts[2].shape[2])
        return backward(*parts, **options)

    monkeypatch.setattr(door_3, '_attention_backward', counted)
    model = vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=3), tune=['head']).train()
    model(images()).sum().backward()
    assert keys == [3, TOKENS, 3]


# Attention to a memory


@pytest.mark.parametrize('bias', [None, 1, 6], ids=['no bias', 'a bias', 'a bias for each'])
@pytest.mark.parametrize('memories', [None, 1, 3, 6])
@pytest.mark.parametrize('trains', ['everything', 'memory', 'value', 'key'])
def test_apart_is_together(memories, bias, trains):
    batch, heads, length, width, prompts = 6, 2, 5, 4, 3
    torch.manual_seed(0)
    options = dict(dtype=torch.float64)
    packed = torch.randn(batch, length, 3, heads, width, **options)
    query, key, value = packed.permute(2, 0, 3, 1, 4)
    shape = (heads, prompts, width) if memories is None else (memories, heads, prompts, width)
    memory = [torch.randn(shape, **options) for _ in range(2)]
    bias = None if bias is None else torch.randn(bias, heads, length, length, **options).squeeze(0)
    scale = None if bias is None else 0.3
    train = dict(everything=[packed, *memory], memory=memory, value=memory[1:], key=[packed])[trains]
    for tensor in train:
        tensor.requires_grad_()
    query, key, value = packed.permute(2, 0, 3, 1, 4)
    probe, found = torch.randn(batch, length, heads * width, **options), []
    for backends in ([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH], [SDPBackend.MATH]):
        with sdpa_kernel(backends):  # one way of summing is fused, the other is plain arithmetic
            out = door_3.attend(query, key, value, KeyValue(*memory), bias=bias, scale=scale)
        found.append([out, *torch.autograd.grad((out * probe).sum(), train)])
    assert (
        trains != 'everything'
        or type(found[0][0].grad_fn.next_functions[0][0]).__name__
        != type(found[1][0].grad_fn.next_functions[0][0]).__name__
    )  # the two did go different ways
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() < 1e-13 * theirs.abs().max()


def test_a_trained_bias_a_dropout_and_an_empty_memory_go_together(monkeypatch):
    def refuse(*parts, **more):
        raise AssertionError('apart')

    monkeypatch.setattr(door_3, '_apart', refuse)
    parts = torch.randn(3, 2, 2, 5, 4)
    memory = KeyValue(*torch.randn(2, 2, 3, 4))
    door_3.attend(*parts, memory, dropout=0.1)
    bias = torch.zeros(1, 2, 5, 5, requires_grad=True)
    door_3.attend(*parts, memory, bias=bias).square().sum().backward()
    assert bias.grad.any()
    empty = KeyValue(*torch.randn(2, 2, 0, 4))
    alone = torch.nn.functional.scaled_dot_product_attention(*parts)
    torch.testing.assert_close(door_3.attend(*parts, empty), alone.transpose(1, 2).flatten(2))
    with pytest.raises(AssertionError, match='apart'):
        door_3.attend(*parts, memory)


@pytest.mark.parametrize('memory', [True, False])
@pytest.mark.parametrize('bias', [True, False])
def test_few_queries_make_no_keys(memory, bias):
    torch.manual_seed(0)
    x, weight = torch.randn(2, 6, 8).double(), torch.randn(24, 8).double()
    bias = torch.randn(24).double() if bias else None
    memory = KeyValue(*torch.randn(2, 2, 3, 4).double()) if memory else None
    query, key, value = door_3.project(x, weight, bias, 2)
    if memory is None:
        expected = torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    else:
        expected = door_3.attend(query, key, value, memory)
    for rows in (1, 2):
        found = door_3.attend_first(x, rows, weight, bias, 2, memory)
        assert (found - expected[:, :rows]).abs().max() < 1e-13 * expected.abs().max()
