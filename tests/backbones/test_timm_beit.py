"""timm's Beit, taken apart: a prompt has no relative position. What every net must do is in ``test_contract.py``."""

import pytest
import torch
from networks import GRID, NETWORKS, VARIANTS, WIDTH, images, tiny, wrapped
from torch import Tensor, nn

import vptx
from vptx.backbones import TimmBeit, TimmRelPos, wrap_backbone

BEITS = [name for name in (*NETWORKS, *VARIANTS) if type(wrapped(name)) is TimmBeit]
every_beit = pytest.mark.parametrize('network', BEITS)


def with_prompts(bias: Tensor, prompts: int) -> Tensor:
    """(heads, 1+N, 1+N) -> (heads, 1+P+N, 1+P+N): nought wherever a prompt is, entry by entry."""
    places = [0, *range(1 + prompts, prompts + bias.shape[1])]
    wide = torch.zeros(len(bias), prompts + bias.shape[1], prompts + bias.shape[2], dtype=bias.dtype)
    for row, i in enumerate(places):
        for column, j in enumerate(places):
            wide[:, i, j] = bias[:, row, column]
    return wide


def test_facts_are_read_off_the_network():
    assert {'BEiT', 'BEiT with one table', 'BEiT with both', 'BEiT with none'} <= set(BEITS)
    net = wrap_backbone(tiny('BEiT'))
    facts = net.geometry
    assert (facts.prefix, facts.tokens, facts.any_size, net.readout) == (1, 1 + GRID**2, False, 'mean')
    assert facts.doors == {'image', 'tokens', 'memory', 'inside', 'logits'}


@every_beit
@pytest.mark.parametrize('by', ['tokens', 'memory'])
def test_the_bias_of_prompts_is_zero(network, by):
    """timm's own block on a longer sequence, its biases made longer by hand."""
    net, other = wrap_backbone(tiny(network)).double(), tiny(network).double()
    tokens, context = net.embed(images().double())
    prompts = torch.randn(3, WIDTH).double()
    longer = torch.cat([tokens[:, :1], prompts.expand(2, -1, -1), tokens[:, 1:]], dim=1)
    attn = other.blocks[1].attn
    if attn.relative_position_bias_table is not None:
        own = attn._get_rel_pos_bias()[0]
        assert own.abs().max() > 0.1
        attn._get_rel_pos_bias = lambda: with_prompts(own, 3)[None]
    shared = None if other.rel_pos_bias is None else with_prompts(other.rel_pos_bias(), 3)
    expected = other.blocks[1](longer, shared_rel_pos_bias=shared)
    if by == 'tokens':
        ours = net.block(longer, 1, context)
    else:
        ours = net.block(tokens, 1, context, prompts)
        expected = torch.cat([expected[:, :1], expected[:, 4:]], dim=1)
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize('by', ['tokens', 'memory'])
@pytest.mark.parametrize(
    'network', ['relative positions', 'relative positions, shared', 'relative positions in a table']
)
def test_the_bias_of_prompts_is_zero_in_relpos(network, by):
    """timm's own block, given the longer bias as if it were that of all layers."""
    net, other = wrap_backbone(tiny(network)).double(), tiny(network).double()
    assert type(net) is TimmRelPos
    tokens, context = net.embed(images().double())
    prefix, prompts = net.geometry.prefix, torch.randn(3, WIDTH).double()
    longer = torch.cat([tokens[:, :prefix], prompts.expand(2, -1, -1), tokens[:, prefix:]], dim=1)
    attn = other.blocks[1].attn
    bias = (other.shared_rel_pos if attn.rel_pos is None else attn.rel_pos).get_bias()[0]
    assert bias.abs().max() > 0.01
    attn.rel_pos, places = None, [*range(prefix), *range(prefix + 3, prefix + 3 + GRID**2)]
    wide = bias.new_zeros(len(bias), longer.shape[1], longer.shape[1])
    for row, i in enumerate(places):
        wide[:, i, places] = bias[:, row]
    expected = other.blocks[1](longer, shared_rel_pos=wide[None])
    if by == 'tokens':
        ours = net.block(longer, 1, context)
    else:
        ours, expected = net.block(tokens, 1, context, prompts), expected[:, places]
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)


def test_no_other_size():
    with pytest.raises(ValueError, match=r'was built for 32 x 32 px: build it with img_size=\.\.\.$'):
        vptx.attach(tiny('BEiT'), dict(type='DeepPrompter'))(images(size=(48, 48)))


def test_not_a_beit():
    with pytest.raises(ValueError, match='TimmBeit wraps timm Beits, not Linear'):
        TimmBeit(nn.Linear(2, 2))
