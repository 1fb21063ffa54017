"""Linear layers of a network with prompts: the same numbers, the same modules, and torch's own way where it matters."""

import pytest
import timm
import torch
from covering import ways_in
from networks import image_prompters
from timm.layers import Mlp
from torch import nn
from torch.autograd import forward_ad

import vptx
from vptx.attach import find_prompted_network
from vptx.backbones.linear import fast_linear, linear

TINY = dict(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=5)
SAME = dict(atol=1e-5, rtol=1e-5)


def test_the_same_numbers_and_gradients():
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 7, 24, requires_grad=True), torch.randn(9, 24), torch.randn(9)
    found, expected = linear(x, weight, bias), nn.functional.linear(x, weight, bias)
    assert '_FrozenBackward' in nodes(found)
    torch.testing.assert_close(found, expected, **SAME)
    grad = torch.randn_like(found)
    torch.testing.assert_close(*(torch.autograd.grad(out, x, grad)[0] for out in (found, expected)), **SAME)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias), expected, **SAME)
    torch.testing.assert_close(linear(x, weight), nn.functional.linear(x, weight), **SAME)


@pytest.mark.parametrize('shape', [(7,), (2, 7), (2, 3, 7)])
def test_a_library_may_change_the_output_in_place(shape):
    x, weight, bias = torch.randn(*shape, 6, requires_grad=True), torch.randn(5, 6), torch.randn(5)
    found, expected = (map_(x, weight, bias).mul_(2).relu_() for map_ in (linear, nn.functional.linear))
    torch.testing.assert_close(found, expected, **SAME)
    torch.testing.assert_close(*(torch.autograd.grad(out.sum(), x)[0] for out in (found, expected)), **SAME)


def test_where_it_is_torchs_own():
    x, weight, bias = torch.randn(2, 7, 24, requires_grad=True), torch.randn(9, 24), torch.randn(9)
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


def test_what_others_call_is_fast():
    """A module of parts, of which some are plain, one has a hook, one is of another class, and one is trained."""

    class Twice(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    torch.manual_seed(0)
    parts = nn.Sequential(
        nn.Linear(6, 8), nn.GELU(), nn.Sequential(Twice(8, 8), nn.Linear(8, 5, bias=False)), Mlp(5, 7)
    )
    parts.requires_grad_(False)
    parts[3].fc1.requires_grad_()
    seen = []
    parts[3].fc2.register_forward_hook(lambda module, inputs, output: seen.append(output) or output + 1)
    x = torch.randn(3, 6, requires_grad=True)
    with fast_linear(x):
        found = parts(x)
    expected = parts(x)
    torch.testing.assert_close(found, expected, **SAME)
    torch.testing.assert_close(*(torch.autograd.grad(out.sum(), x)[0] for out in (found, expected)), **SAME)
    assert len(seen) == 2
    assert [nodes(out).count('_FrozenBackward') for out in (found, expected)] == [4, 0]


def nodes(output):
    """Names of all operators that made it."""
    todo, seen = [output.grad_fn], set()
    while todo:
        if (node := todo.pop()) is not None and node not in seen:
            seen.add(node)
            todo += [before for before, _ in node.next_functions]
    return [type(node).__name__ for node in seen]


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('kind', [kind for kind in image_prompters() if ways_in(kind) == 'inside'])
def test_layers_that_their_library_computes_are_fast(kind, with_cp):
    torch.manual_seed(0)
    network = timm.create_model('vit_tiny_patch16_224', **TINY).eval()
    model = vptx.attach(network, dict(type=kind))
    find_prompted_network(model).with_cp = with_cp
    behind = []  # of each linear map, whether it stands behind a prompt
    for module in network.blocks.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(lambda module, inputs: behind.append(inputs[0].requires_grad))
    output = model(torch.randn(2, 3, 32, 32))
    if not with_cp:  # which records operators in the backward pass
        assert nodes(output).count('_FrozenBackward') >= sum(behind) >= 4 * (len(network.blocks) - 1)
    output.sum().backward()
    assert not torch.overrides._get_current_function_mode_stack()


@pytest.mark.parametrize('kind', ['DeepPrompter', 'LoRA'])
def test_a_mode_of_the_user_sees_every_linear_map(kind):
    class Seen(torch.overrides.TorchFunctionMode):
        linear = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.linear += func is nn.functional.linear
            assert '_linear_pointwise' not in str(func)
            return func(*args, **(kwargs or {}))

    torch.manual_seed(0)
    model = vptx.attach(timm.create_model('vit_tiny_patch16_224', **TINY).eval(), dict(type=kind))
    with Seen() as seen:
        model(torch.randn(2, 3, 32, 32))
    assert seen.linear >= 4 * TINY['depth']


def test_without_a_prompter_it_is_the_librarys_to_the_bit():
    torch.manual_seed(0)
    network, image = timm.create_model('vit_tiny_patch16_224', **TINY).eval(), torch.randn(2, 3, 32, 32)
    expected = network(image)
    assert torch.equal(vptx.attach(network, None)(image), expected)


def test_quantised_weights_are_left_to_their_own_type():
    class Held(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {})) * (2 if func is nn.functional.linear else 1)

    x, weight = torch.randn(3, 6), torch.randn(4, 6)
    with fast_linear(x):
        found = nn.functional.linear(x, weight.as_subclass(Held))
    torch.testing.assert_close(found.as_subclass(torch.Tensor), 2 * x @ weight.T, **SAME)
