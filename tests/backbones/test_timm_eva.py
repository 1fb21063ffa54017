"""timm's Eva, taken apart: prompts are not rotated. What every net must do is in ``test_contract.py``."""

import pytest
import torch
from networks import GRID, NETWORKS, VARIANTS, images, tiny, wrapped
from torch import nn

import vptx
from vptx.backbones import TimmEva, wrap_backbone

EVAS = [name for name in (*NETWORKS, *VARIANTS) if type(wrapped(name)) is TimmEva]
SPELT_OUT = [name for name in EVAS if 'memory' in wrapped(name).geometry.doors]
every_eva = pytest.mark.parametrize('network', EVAS)


def test_there_are_evas():
    assert {'EVA-02', 'DINOv3', 'EVA', 'mixed rotations'} <= set(SPELT_OUT)
    assert set(EVAS) - set(SPELT_OUT) == {'post-norm EVA-02'}


@pytest.mark.parametrize(
    ('network', 'prefix', 'readout'),
    [('EVA-02', 1, 'mean'), ('DINOv3', 5, 'mean'), ('Perception Encoder', 1, 'logits')],
)
def test_facts_are_read_off_the_network(network, prefix, readout):
    net = wrap_backbone(tiny(network))
    facts = net.geometry
    assert (facts.prefix, facts.tokens, net.readout) == (prefix, prefix + GRID**2, readout)
    assert facts.doors == {'image', 'tokens', 'memory', 'inside', 'logits'}


@pytest.mark.parametrize(
    ('network', 'by'), [*((name, 'tokens') for name in EVAS), *((name, 'memory') for name in SPELT_OUT)]
)
def test_prompts_are_what_timm_does_with_more_prefix_tokens(network, by):
    """timm's own block, told that what stands in front of the patches is a longer prefix, which it does not rotate."""
    net = wrap_backbone(tiny(network)).double()
    tokens, context = net.embed(images().double())
    prefix, prompts = net.geometry.prefix, torch.randn(3, tokens.shape[-1]).double()
    longer = torch.cat([tokens[:, :prefix], prompts.expand(2, -1, -1), tokens[:, prefix:]], dim=1)
    other = tiny(network).double().blocks[1]
    other.attn.num_prefix_tokens = prefix + 3
    turns = context.positions
    expected = other(longer, rope=turns[1] if net.model.rope_mixed else turns)
    if by == 'tokens':
        ours = net.block(longer, 1, context)
    else:
        ours = net.block(tokens, 1, context, prompts)
        expected = torch.cat([expected[:, :prefix], expected[:, prefix + 3 :]], dim=1)
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)


@every_eva
def test_the_order_of_prompts_is_none(network):
    """As it would be, if each had a place of its own."""
    model, image = vptx.attach(tiny(network), dict(type='ShallowPrompter', num_tokens=4)).double().eval(), images()
    (rows,) = model.prompter.embedding.rows
    rows.data.normal_()
    expected = model(image.double())
    rows.data = rows.data.flip(0)
    torch.testing.assert_close(model(image.double()), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('network', SPELT_OUT)
def test_a_block_spelt_out_is_timms_own(network):
    """Attention to a memory of no tokens, with everything that a block of this kind may have."""
    net = wrap_backbone(tiny(network)).double()
    tokens, context = net.embed(images().double())
    nothing = tokens.new_zeros(0, tokens.shape[-1])
    for layer in range(net.geometry.depth):
        expected = net.block(tokens, layer, context)
        torch.testing.assert_close(net.block(tokens, layer, context, nothing), expected, rtol=1e-11, atol=1e-11)


def test_attention_of_another_kind_leaves_tokens_alone():
    class Another(type(tiny('DINOv3').blocks[0].attn)):
        """Of a user, or of a later timm: computes who knows what."""

    model = tiny('DINOv3')
    model.blocks[0].attn.__class__ = Another
    assert wrap_backbone(model).geometry.doors == {'image', 'tokens', 'logits'}


def test_without_scales_a_branch_is_as_it_is():
    net = wrap_backbone(tiny('EVA-02'))
    assert net.module_of(0).gamma_1 is None
    tokens, context = net.embed(images())
    assert net.spell(tokens, 0, context, net.keys_values(torch.randn(2, 32), 0)).shape == tokens.shape


def test_not_an_eva():
    with pytest.raises(ValueError, match='TimmEva wraps timm Evas, not Linear'):
        TimmEva(nn.Linear(2, 2))
