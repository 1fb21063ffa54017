"""Derivatives of every kind, of prompts and of the image, against differences in double precision."""

from collections.abc import Callable

import pytest
import torch
from covering import covering, refusal, ways_in
from networks import config, image_prompters, images, tiny
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

import vptx
from vptx.registry import PROMPTERS

PROMPTERS.import_from_location()
KINDS = image_prompters()
# Without a kink, and each with an attention of its own.
NETWORKS = [
    'plain',
    'query-key norm',
    'registers',
    'EVA-02',
    'DINOv3',
    'BEiT',
    'torchvision',
    'swin',
    'swin v2',
    'ConvNeXt',
]
PAIRS = [(network, kind) for network in NETWORKS for kind in KINDS if refusal(network, kind) is None]
STEP, BOUND = 1e-6, 1e-6
Point = dict[str, Tensor]


@pytest.fixture(autouse=True)
def plain_attention():
    """Of the layers that are called, as the library asks of those who want such derivatives."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with sdpa_kernel(SDPBackend.MATH):
        yield
    torch.backends.mha.set_fastpath_enabled(fast)


def make(network: str, kind: str, **options) -> tuple[Callable[[Point], Tensor], Point, Point]:
    """A function of prompts and image, where to look at it, and a direction."""
    torch.manual_seed(0)
    model = vptx.attach(tiny(network), config(kind, **options)).double().eval()
    with torch.no_grad():
        for parameter in model.prompter.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    point = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}

    def function(point: Point) -> Tensor:
        rest = {name: value for name, value in point.items() if name != 'image'}
        return functional_call(model, rest, (point['image'],))

    point['image'] = images().double()
    along = {name: torch.randn_like(value) for name, value in point.items()}
    if PROMPTERS.get(kind).asks_query:  # of the image, which prompts are chosen by without a gradient
        along['image'].zero_()
    return function, point, along


def difference(function: Callable[[Point], list[Tensor]], point: Point, along: Point) -> list[Tensor]:
    """By two points a step apart on either side."""
    sides = [{name: value + sign * STEP * along[name] for name, value in point.items()} for sign in (1, -1)]
    return [(ours - theirs) / (2 * STEP) for ours, theirs in zip(*map(function, sides), strict=True)]


def assert_close(ours: list[Tensor], theirs: list[Tensor], bound: float = BOUND, rounding: float = 0.0) -> None:
    scale = max(tensor.abs().max() for tensor in theirs)
    assert scale > 0
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).abs().max() < bound * scale + rounding


def gradients(function: Callable[[Point], Tensor], point: Point, **options) -> tuple[list[Tensor], list[Tensor]]:
    """Where they are asked for, and the gradients of the sum of squares there."""
    where = {name: value.detach().clone().requires_grad_() for name, value in point.items()}
    loss = function(where).square().mean()
    found = torch.autograd.grad(loss, [*where.values()], allow_unused=True, materialize_grads=True, **options)
    return [*where.values()], list(found)


@pytest.mark.parametrize(
    ('network', 'kind'),
    covering(PAIRS, lambda network, kind: kind, lambda network, kind: (network, ways_in(kind))),
)
def test_every_kind_of_derivative(network, kind):
    function, point, along = make(network, kind)

    def loss(point: Point) -> Tensor:
        return function(point).square().mean()

    with torch.no_grad():
        expected = difference(lambda point: [function(point)], point, along)
    assert_close([jvp(function, (point,), (along,))[1]], expected)
    _, first = gradients(function, point)
    slope = sum((gradient * along[name]).sum() for name, gradient in zip(point, first, strict=True))
    # A slope may be small beside the loss, whose last digits a difference divides by the step.
    rounding = float(torch.finfo(torch.float64).eps * loss(point) / STEP)
    assert_close([slope], difference(lambda point: [loss(point)], point, along), rounding=rounding)
    assert_close([*grad(loss)(point).values()], first, 1e-11)
    # The derivative of the gradients along a direction; that of a gradient penalty has it as a part.
    where, first = gradients(function, point, create_graph=True)
    slope = sum((gradient * along[name]).sum() for name, gradient in zip(point, first, strict=True))
    second = torch.autograd.grad(slope, where, allow_unused=True, materialize_grads=True)
    assert_close(list(second), difference(lambda point: gradients(function, point)[1], point, along), 1e-5)

    # Of every sample by itself.
    def of_one(point: Point, image: Tensor) -> Tensor:
        return loss(dict(point, image=image[None]))

    rest = {name: value for name, value in point.items() if name != 'image'}
    each = vmap(grad(of_one), in_dims=(None, 0))(rest, point['image'])
    singly = [grad(of_one)(rest, image) for image in point['image']]
    assert_close([*each.values()], [torch.stack([one[name] for one in singly]) for name in rest], 1e-10)


FUSED = ['plain', 'query-key norm', 'EVA-02', 'BEiT', 'torchvision', 'swin', 'swin v2']


@pytest.mark.parametrize('network', FUSED)
def test_where_all_layers_are_spelt_out_fused_attention_is_left_by_itself(network):
    """Nobody has to ask for plain attention: derivatives that the fused operators lack are made otherwise."""
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        function, point, along = make(network, 'DeepPrompter')
        with torch.no_grad():
            expected = difference(lambda point: [function(point)], point, along)
        assert_close([jvp(function, (point,), (along,))[1]], expected)
        where, first = gradients(function, point, create_graph=True)
        slope = sum((gradient * along[name]).sum() for name, gradient in zip(point, first, strict=True))
        second = torch.autograd.grad(slope, where)
        assert_close(list(second), difference(lambda point: gradients(function, point)[1], point, along), 1e-5)


@pytest.mark.parametrize('network', ['plain', 'swin v2'])
def test_jacobians_row_by_row_and_at_once(network):
    function, point, _ = make(network, 'DeepPrompter')
    image = point.pop('image')[:1]
    at = {name: value.clone().requires_grad_() for name, value in point.items()}
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        output = function(dict(at, image=image))[0]
        rows = [torch.autograd.grad(value, [*at.values()], retain_graph=True) for value in output]
        batched = torch.autograd.grad(output, [*at.values()], torch.eye(len(output)).double(), is_grads_batched=True)
        found = jacrev(lambda point: function(dict(point, image=image))[0])(point)
    expected = [torch.stack(parts) for parts in zip(*rows, strict=True)]
    assert_close(list(batched), expected, 1e-11)
    assert_close([*found.values()], expected, 1e-11)


@pytest.mark.parametrize('kind', ['DeepPrompter', 'ShallowPrompter', 'PixelPrompter'])
def test_a_gradient_penalty_on_the_image(kind):
    """As a training step takes it: the norm of a gradient is part of a loss, in single precision."""
    torch.manual_seed(0)
    model = vptx.attach(tiny(), config(kind), tune=['head']).train()
    with torch.no_grad():
        for parameter in model.prompter.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    found = []
    for dtype in (torch.float32, torch.float64):
        model = model.to(dtype)
        model.zero_grad()
        image = images().to(dtype).requires_grad_()
        (slope,) = torch.autograd.grad(model(image).square().sum(), image, create_graph=True)
        slope.square().sum().backward()
        found.append([p.grad.double().clone() for p in model.parameters() if p.grad is not None])
    assert len(found[0]) > 2 - (kind == 'PixelPrompter')
    assert_close(*found, 1e-3)


def test_forward_mode_by_dual_numbers():
    function, point, along = make('plain', 'DeepPrompter')
    with torch.autograd.forward_ad.dual_level():
        dual = {name: torch.autograd.forward_ad.make_dual(value, along[name]) for name, value in point.items()}
        tangent = torch.autograd.forward_ad.unpack_dual(function(dual)).tangent
    assert_close([tangent], [jvp(function, (point,), (along,))[1]], 1e-12)


def test_meta_learning_a_step_inside_a_step():
    """The gradient through a step of training, as MAML has it."""
    function, point, along = make('plain', 'DeepPrompter')

    def after_a_step(point: Point) -> Tensor:
        rest = {name: value for name, value in point.items() if name != 'image'}
        slopes = torch.autograd.grad(function(point).square().mean(), [*rest.values()], create_graph=True)
        moved = {name: value - 0.1 * slope for (name, value), slope in zip(rest.items(), slopes, strict=True)}
        return function(dict(point, **moved)).square().mean()

    where = {name: value.clone().requires_grad_() for name, value in point.items()}
    found = torch.autograd.grad(after_a_step(where), [*where.values()])
    slope = sum((gradient * along[name]).sum() for name, gradient in zip(point, found, strict=True))

    def outer(point: Point) -> list[Tensor]:
        return [after_a_step({name: value.clone().requires_grad_() for name, value in point.items()}).detach()]

    assert_close([slope], difference(outer, point, along), 1e-5)


def test_modules_and_not_only_functions():
    """torch.autograd.functional over the model itself, with respect to the image."""
    torch.manual_seed(0)
    model: nn.Module = vptx.attach(tiny(), config('DeepPrompter')).double().eval()
    image, along = images(1).double(), torch.randn(1, 3, 32, 32).double()
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]):
        _, found = torch.autograd.functional.hvp(lambda image: model(image).square().sum(), image, along)

    def slope(image: Tensor) -> Tensor:
        image = image.requires_grad_()
        return torch.autograd.grad(model(image).square().sum(), image)[0]

    expected = (slope(image + STEP * along) - slope(image - STEP * along)) / (2 * STEP)
    assert_close([found], [expected], 1e-5)
