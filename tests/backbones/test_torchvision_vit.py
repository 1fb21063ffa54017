"""torchvision's vision transformer, taken apart. What every net must do is in ``test_contract.py``."""

import pytest
import torch
from networks import CLASSES, DEPTH, GRID, HEADS, PATCH, SIZE, WIDTH, images, tiny
from torch import nn
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import ConvStemConfig

import vptx
from vptx.backbones import TorchvisionViT, wrap_backbone


def test_facts_are_read_off_the_network():
    net = wrap_backbone(tiny('torchvision'))
    facts = net.geometry
    assert (facts.widths, facts.patch, facts.image) == ((WIDTH,) * DEPTH, (PATCH, PATCH), (SIZE, SIZE))
    assert (facts.prefix, facts.tokens, facts.any_size) == (1, 1 + GRID**2, False)
    assert (facts.mean, facts.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert facts.doors == {'image', 'tokens', 'memory', 'inside', 'logits'}


def test_a_block_spelt_out_is_torchvisions_own():
    """With a memory of no tokens."""
    net = wrap_backbone(tiny('torchvision')).double()
    tokens, context = net.embed(images().double())
    for layer in range(DEPTH):
        expected = net.block(tokens, layer, context)
        ours = net.block(tokens, layer, context, tokens.new_zeros(0, WIDTH))
        torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)


def test_a_convolutional_stem_and_a_layer_before_the_classifier():
    torch.manual_seed(0)
    stem = [ConvStemConfig(8, 3, PATCH)]
    arguments = dict(num_classes=CLASSES, representation_size=5, conv_stem_configs=stem)
    model = VisionTransformer(SIZE, PATCH, 1, HEADS, WIDTH, WIDTH, **arguments).eval()
    expected = model(images())
    plugged = vptx.attach(model)
    assert torch.equal(plugged(images()), expected)
    assert plugged.net.geometry.stem is None
    assert vptx.attach(vptx.detach(plugged), readout='cls')(images()).shape == (2, 5)


def test_names_and_others():
    with pytest.raises(ValueError, match='TorchvisionViT wraps torchvision VisionTransformers, not SqueezeNet'):
        TorchvisionViT('squeezenet1_0')
    with pytest.raises(ValueError, match='Unknown model vit_b_17'):
        TorchvisionViT('vit_b_17')


def test_blocks_of_another_kind_keep_door_2():
    model = tiny('torchvision')
    model.encoder.layers[1] = nn.Identity()
    assert wrap_backbone(model).geometry.doors == {'image', 'tokens', 'logits'}
