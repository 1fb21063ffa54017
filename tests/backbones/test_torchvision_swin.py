"""torchvision's Swin transformers, taken apart. What every net must do is in ``test_contract.py``."""

import pytest
import torch
from networks import SIZE, images, tiny
from torchvision.models import SwinTransformer, swin_t

import vptx
from vptx.backbones import TorchvisionSwin, wrap_backbone

both_versions = pytest.mark.parametrize('network', ['torchvision swin', 'torchvision swin v2'])
DEEP = dict(type='DeepPrompter', num_tokens=3)


def test_facts_are_read_off_the_network():
    net = wrap_backbone(tiny('torchvision swin'))
    facts = net.geometry
    assert isinstance(net, TorchvisionSwin)
    assert (facts.widths, facts.lengths) == ((16, 16, 32, 32), (64, 64, 16, 16))
    assert (facts.patch, facts.image, facts.prefix, facts.tokens) == ((4, 4), (SIZE, SIZE), 0, 64)
    assert (net.stages, net.readout, net.has_class_token) == ((1, 3), 'mean', False)
    assert facts.doors == {'image', 'tokens', 'memory', 'inside', 'logits'}
    # Its attention takes the weights of its maps, and calls neither.
    assert not {'qkv', 'proj'} & {site.name for site in facts.sites}


@both_versions
@pytest.mark.parametrize('size', [(SIZE, SIZE), (12, 12), (40, 24), (28, 44)])
def test_a_block_spelt_out_is_torchvisions_own(network, size):
    model = tiny(network).double().eval()
    net, image = wrap_backbone(model), images(2, size).double()
    tokens, context = net.embed(image)
    for layer in range(net.geometry.depth):
        tokens, context = net.merge(tokens, layer, context)
        called = net.call(tokens, layer, context)
        torch.testing.assert_close(net.spell(tokens, layer, context, None), called, rtol=1e-12, atol=1e-12)
        tokens = called
    torch.testing.assert_close(net.classify(net.finish(tokens), context), model(image), rtol=0, atol=0)


@both_versions
def test_a_hooked_attention_is_called_with_prompts_and_gives_the_same(network):
    model = vptx.attach(tiny(network), DEEP).double().eval()
    expected, shapes = model(images().double()), []
    attention = model.net.module_of(1).attn
    attention.register_forward_hook(lambda module, args, output: shapes.append(tuple(args[0].shape)))
    torch.testing.assert_close(model(images().double()), expected, rtol=1e-10, atol=1e-10)
    assert len(shapes) == 1


def test_keys_of_the_second_version_have_no_bias():
    model = tiny('torchvision swin v2').eval()
    bias = model.features[1][0].attn.qkv.bias
    with torch.no_grad():
        bias[len(bias) // 3 : 2 * len(bias) // 3] = 5.0  # which torchvision does not read
    net = wrap_backbone(model)
    tokens, context = net.embed(images())
    torch.testing.assert_close(net.spell(tokens, 0, context, None), net.call(tokens, 0, context))


def test_prompts_learn():
    model = vptx.attach(tiny('torchvision swin'), DEEP, tune=['head'])
    model(images()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.prompter.parameters())


def test_a_forward_of_its_own_is_called_in_one_piece():
    class Twice(SwinTransformer):
        def forward(self, x):
            return 2 * super().forward(x)

    model = tiny('torchvision swin')
    model.__class__ = Twice
    assert not TorchvisionSwin.knows(model)
    torch.testing.assert_close(vptx.attach(model)(images()), model(images()))


def test_not_a_swin():
    with pytest.raises(ValueError, match='TorchvisionSwin wraps torchvision SwinTransformers, not SqueezeNet'):
        TorchvisionSwin('squeezenet1_0')


def test_sizes_of_a_network_are_those_of_its_weights_or_given():
    def small(**options):
        model = swin_t(**options)
        model.features = model.features[:2]
        return model

    assert TorchvisionSwin(small()).geometry.image == (224, 224)
    assert TorchvisionSwin(small(), img_size=96).geometry.image == (96, 96)
