"""CaiT: layers of the patches, and layers of the class token. What every net must do is in ``test_contract.py``."""

import pytest
import torch
from networks import DEPTH, GRID, WIDTH, images, tiny

import vptx
from vptx.backbones import wrap_backbone

SHALLOW = dict(type='ShallowPrompter', num_tokens=3)


def test_facts_are_read_off_the_network():
    net = wrap_backbone(tiny('CaiT'))
    facts = net.geometry
    assert (facts.widths, facts.prefix, facts.tokens) == ((WIDTH,) * (DEPTH + 2), 1, 1 + GRID**2)
    assert (net.readout, net.has_class_token, net.intermediates) == ('cls', True, (0, 1, 2))
    assert facts.doors == {'image', 'tokens', 'inside', 'logits'}


@pytest.mark.parametrize('layer', range(DEPTH + 2))
def test_prompts_are_patches_to_timms_own_block(layer):
    net, other = wrap_backbone(tiny('CaiT')), tiny('CaiT')
    tokens, context = net.embed(images())
    longer = torch.cat([tokens[:, :1], torch.randn(2, 3, WIDTH), tokens[:, 1:]], dim=1)
    found = net.call(longer, layer, context)
    if layer < DEPTH:
        assert torch.equal(found[:, :1], longer[:, :1])  # the class token has not come yet
        assert torch.equal(found[:, 1:], other.blocks[layer](longer[:, 1:]))
    else:
        assert torch.equal(found[:, :1], other.blocks_token_only[layer - DEPTH](longer[:, 1:], longer[:, :1]))
        assert torch.equal(found[:, 1:], longer[:, 1:])


def test_features_and_maps():
    model = tiny('CaiT')
    features, maps = model.forward_intermediates(images())
    prompted = vptx.attach(model)
    found, own = prompted.forward_intermediates(images())
    torch.testing.assert_close([found, *own], [features, *maps])
    assert vptx.attach(tiny('CaiT'), SHALLOW, readout='map')(images()).shape == (2, WIDTH, GRID, GRID)
    with pytest.raises(ValueError, match=r'an image of 48 x 48 px, but cait_xxs24_224.* was built for 32 x 32 px'):
        prompted(images(size=(48, 48)))
