"""NaFlexVit. What every net must do is in ``test_contract.py``."""

import pytest
import timm
import torch
from networks import DEPTH, GRID, SIZE, WIDTH, images, tiny

import vptx
from vptx.backbones import TimmNaFlex, TimmViT, wrap_backbone

DEEP = dict(type='DeepPrompter', num_tokens=3)
SMALL = dict(patch_size=8, embed_dim=WIDTH, depth=2, num_heads=4, num_classes=3, init_values=0.5)


@pytest.mark.parametrize(
    'network, prefix, readout',
    [('NaFlex', 4, 'mean'), ('SigLIP 2', 0, 'logits'), ('NaFlex with rotations', 5, 'mean')],
)
def test_facts_are_read_off_the_network(network, prefix, readout):
    net = wrap_backbone(tiny(network))
    facts = net.geometry
    assert (facts.widths, facts.patch, facts.image) == ((WIDTH,) * DEPTH, (8, 8), (SIZE, SIZE))
    assert (facts.prefix, facts.tokens, net.readout, facts.any_size) == (prefix, prefix + GRID**2, readout, True)
    assert facts.doors == {'image', 'tokens', 'memory', 'inside', 'logits'}


@pytest.mark.parametrize('kind', ['DeepPrompter', 'ShallowPrompter', 'PrependedPixelPrompter'])
def test_with_the_weights_of_a_vit_it_is_that_vit_with_prompts(kind):
    """timm's way from one to the other: patches by a linear map instead of a convolution."""
    torch.manual_seed(0)
    vit = timm.create_model('vit_base_patch16_224', img_size=SIZE, global_pool='avg', class_token=False, **SMALL)
    torch.nn.init.normal_(vit.pos_embed)
    naflex = timm.create_model('naflexvit_base_patch16_gap', reg_tokens=0, pos_embed_grid_size=(GRID, GRID), **SMALL)
    weights = timm.models.naflexvit.checkpoint_filter_fn(vit.state_dict(), naflex)
    naflex.load_state_dict(weights)
    outputs = []
    for model in (vit, naflex):
        torch.manual_seed(1)
        prompted = vptx.attach(model, dict(type=kind, num_tokens=3)).double().eval()
        for parameter in prompted.prompter.parameters():
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(2))
        outputs.append(prompted(images().double()))
    assert (type(wrap_backbone(vit)), type(wrap_backbone(naflex))) == (TimmViT, TimmNaFlex)
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-9)


def test_patches_that_are_filled_up():
    model = timm.create_model('naflexvit_base_patch16_gap', dynamic_img_pad=True, **SMALL).eval()
    image = images(size=(30, 35))
    expected = model(image)
    prompted = vptx.attach(model)
    assert torch.equal(prompted(image), expected)
    assert vptx.attach(vptx.detach(prompted), DEEP, readout='map')(image).shape == (2, WIDTH, GRID, 5)
