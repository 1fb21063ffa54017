"""Linear layers of a network with prompts: the same numbers, the same modules, and torch's own way where it matters."""

import pytest
import timm
import torch
from timm.layers import Mlp
from torch import nn
from torch.autograd import forward_ad

import vptx
from vptx.backbones.linear import linear, run

TINY = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=5)
SAME = dict(atol=1e-5, rtol=1e-5)


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


@pytest.mark.parametrize('bias', [torch.randn(18)[::2], torch.randn(1).expand(9)], ids=['strided', 'expanded'])
def test_a_bias_that_lies_in_pieces(bias):
    x, weight = torch.randn(2, 24), torch.randn(9, 24)
    torch.testing.assert_close(linear(x, weight, bias), nn.functional.linear(x, weight, bias), **SAME)


def test_derivatives_that_the_fused_operator_lacks():
    x, v, weight, bias = torch.randn(2, 24), torch.randn(2, 24), torch.randn(9, 24), torch.randn(9)
    expected = v @ weight.T
    torch.testing.assert_close(torch.func.jvp(lambda x: linear(x, weight, bias), (x,), (v,))[1], expected, **SAME)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(linear(forward_ad.make_dual(x, v), weight, bias)).tangent
    torch.testing.assert_close(tangent, expected, **SAME)
    x.requires_grad_()
    (first,) = torch.autograd.grad(linear(x, weight, bias).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad((first * v).sum(), x)
    torch.testing.assert_close(second, 2 * expected @ weight, **SAME)


def test_nothing_of_the_network_is_replaced():
    """Types, hooks and methods of its modules are as they were, with prompts among the tokens and after."""
    torch.manual_seed(0)
    network = timm.create_model('vit_tiny_patch16_224', **TINY).eval()
    before, image = [(type(module), set(vars(module))) for module in network.modules()], torch.randn(2, 3, 32, 32)
    model = vptx.attach(network, dict(type='DeepPrompter', num_tokens=3), tune=['blocks.1.mlp'])
    model(image).sum().backward()
    assert [(type(module), set(vars(module))) for module in network.modules()] == before
    assert [name for name, weight in network.named_parameters() if weight.grad is not None] == [
        f'blocks.1.mlp.{name}' for name in ('fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias')
    ]


def test_what_is_run_is_what_is_called():
    """A module of parts, of which some are plain, one has a hook, and one is of another class."""

    class Twice(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    torch.manual_seed(0)
    parts = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Sequential(Twice(8, 8), nn.Linear(8, 5)), Mlp(5, 7))
    parts.requires_grad_(False)
    seen = []
    parts[3].fc2.register_forward_hook(lambda module, inputs, output: seen.append(output) or output + 1)
    x = torch.randn(3, 6)
    found, expected = run(parts, x), parts(x)
    torch.testing.assert_close(found, expected, **SAME)
    assert len(seen) == 2
