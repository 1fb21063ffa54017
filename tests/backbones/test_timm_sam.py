"""SAM's encoder. What every net must do is in ``test_contract.py``."""

import pytest
import torch
from networks import GRID, HEADS, SIZE, WIDTH, images, tiny, wrapped
from timm.models.vision_transformer import Block

import vptx
from vptx.backbones import wrap_backbone
from vptx.backbones.timm_sam import attend

SHALLOW = dict(type='ShallowPrompter', num_tokens=3)


def test_facts_are_read_off_the_network():
    net = wrap_backbone(tiny('SAM'))
    facts = net.geometry
    assert (facts.widths, facts.prefix, facts.tokens, facts.image) == ((WIDTH,) * 3, 0, GRID**2, (SIZE, SIZE))
    assert facts.doors == {'image', 'tokens', 'inside', 'logits'} and facts.any_size
    assert not wrapped('SAM with rotations').geometry.any_size


def test_without_windows_and_positions_it_is_a_plain_block():
    """timm's block of a ViT, of the same weights, on prompts and patches together."""
    net = wrap_backbone(tiny('SAM')).double()
    block = net.model.blocks[1].eval()
    torch.nn.init.zeros_(block.attn.rel_pos_h)
    torch.nn.init.zeros_(block.attn.rel_pos_w)
    plain = Block(WIDTH, HEADS, mlp_ratio=2, qkv_bias=True).double().eval()
    own = block.state_dict()
    plain.load_state_dict({name: own[name] for name in plain.state_dict()})
    plain.norm1.eps, plain.norm2.eps = block.norm1.eps, block.norm2.eps
    tokens, context = net.embed(images().double())
    longer = torch.cat([torch.randn(2, 3, WIDTH).double(), tokens], dim=1)
    torch.testing.assert_close(net.call(longer, 1, context), plain(longer), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    'network, size', [('SAM', (32, 32)), ('SAM', (48, 40)), ('SAM', (16, 16)), ('SAM with rotations', (32, 32))]
)
def test_attention_without_prompts_is_timms_own(network, size):
    """Its parts called one by one: windows, padding, biases and rotations at the same places."""
    net = wrap_backbone(tiny(network)).double()
    tokens, context = net.embed(images(2, size).double())
    for layer, block in enumerate(net.model.blocks):
        x = tokens + block.ls1(attend(block, block.norm1(tokens), context.grid))
        x = x + block.ls2(block.mlp(block.norm2(x)))
        torch.testing.assert_close(x, net.call(tokens, layer, context), rtol=1e-11, atol=1e-11)


def test_features_go_through_the_neck():
    model = tiny('SAM')
    expected = model.forward_features(images())
    prompted = vptx.attach(tiny('SAM'), SHALLOW)
    assert prompted.forward_features(images()).shape == expected.shape == (2, 24, GRID, GRID)
    torch.testing.assert_close(vptx.attach(model).forward_features(images()), expected)
    assert vptx.attach(tiny('SAM'), SHALLOW, readout='map')(images()).shape == (2, WIDTH, GRID, GRID)
