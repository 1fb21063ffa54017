"""Linear layers of a network with prompts: the same numbers, the same modules, and torch's own way where it matters."""

import timm
import torch
from torch import nn

import vptx
from vptx.backbones.linear import FusedLinear, linear

TINY = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=5)
SAME = dict(atol=1e-5, rtol=1e-5)


def of_type(model, kind):
    return [name for name, module in model.named_modules() if type(module) is kind]


def test_the_same_numbers_and_gradients():
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 7, 24, requires_grad=True), torch.randn(9, 24), torch.randn(9)
    found, expected = linear(x, weight, bias), nn.functional.linear(x, weight, bias)
    assert type(found.grad_fn).__name__ == '_FrozenBackward'
    torch.testing.assert_close(found, expected, **SAME)
    grad = torch.randn_like(found)
    torch.testing.assert_close(*(torch.autograd.grad(out, x, grad)[0] for out in (found, expected)), **SAME)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias), expected, **SAME)


def test_where_it_is_torchs_own():
    x, weight, bias = torch.randn(2, 7, 24, requires_grad=True), torch.randn(9, 24), torch.randn(9)
    assert torch.equal(linear(x, weight, None), nn.functional.linear(x, weight))
    assert linear(x.double(), weight.double(), bias.double()).dtype == torch.float64
    with torch.autocast('cpu', torch.bfloat16):
        assert linear(x, weight, bias).dtype == torch.bfloat16
    for trained in (weight, bias):
        trained.requires_grad_()
        linear(x, weight, bias).sum().backward()
        assert trained.grad is not None
        trained.requires_grad_(False)


def test_layers_stay_the_modules_that_they_are():
    torch.manual_seed(0)
    network = timm.create_model('vit_tiny_patch16_224', **TINY).eval()
    own, image = of_type(network, nn.Linear), torch.randn(2, 3, 32, 32)
    assert len(own) == 9
    calls = []
    network.blocks[0].mlp.fc1.register_forward_hook(lambda *_: calls.append(1))
    keys, layer = list(network.state_dict()), network.blocks[0].mlp.fc1

    model = vptx.attach(network, dict(type='DeepPrompter', num_tokens=3), tune=['blocks.1.mlp'])
    assert len(of_type(model, FusedLinear)) == 9 and not of_type(model, nn.Linear)
    model(image).sum().backward()
    assert len(calls) == 1 and layer is network.blocks[0].mlp.fc1
    assert [name for name, weight in network.named_parameters() if weight.grad is not None] == [
        f'blocks.1.mlp.{name}' for name in ('fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias')
    ]

    network = vptx.detach(model)
    assert of_type(network, nn.Linear) == own and list(network.state_dict()) == keys
    # Pixels on the image change nothing among the tokens: the network stays its library's, bit for bit.
    assert not of_type(vptx.attach(network, dict(type='BorderPrompter', width=2)), FusedLinear)
