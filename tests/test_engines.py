"""Every prompter under the engines that make networks fast or training cheap: compiled whole, in half precision, on
channels that lie last, with gradients added up, with weights averaged. Checkpointed activations: test_contract.py."""

from copy import deepcopy
from itertools import product

import pytest
import torch
from covering import FINITE, covering, few_pairs, refusal, rest_slow, ways_in
from mmengine.model import ExponentialMovingAverage
from mmengine.optim import OptimWrapper
from networks import NETWORKS, classifier, config, image_prompters, images, tiny, wrapped

import vptx
from vptx.attach import find_prompted_network
from vptx.registry import PROMPTERS

PROMPTERS.import_from_location()
PAIRS = few_pairs(FINITE, image_prompters())
every_pair = pytest.mark.parametrize(('network', 'kind'), PAIRS)


def attached(network: str, kind: str) -> torch.nn.Module:
    """The network prompted, in training mode without dropout."""
    torch.manual_seed(0)
    return vptx.attach(tiny(network), config(kind), tune=[classifier(network)]).train()


def train(model: torch.nn.Module, batches: list[torch.Tensor], parts: int = 1, after_step=lambda: None) -> None:
    """Steps of SGD, each on the gradients of so many batches."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = OptimWrapper(torch.optim.SGD(trained, lr=0.01), accumulative_counts=parts)
    for batch in batches:
        with optimizer.optim_context(model):
            loss = model(batch).square().mean()
        optimizer.update_params(loss)
        after_step()


def run(call, model: torch.nn.Module) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Output, and gradients of what trains."""
    model.zero_grad()
    output = call(images())
    output.to(torch.promote_types(output.dtype, torch.float32)).square().sum().backward()
    return output.detach(), [p.grad.clone() for p in model.parameters() if p.requires_grad and p.grad is not None]


@pytest.mark.parametrize(
    ('network', 'kind'),
    covering(PAIRS, lambda _, kind: ways_in(kind), lambda network, _: type(wrapped(network))),
)
def test_compiled_in_one_graph(network, kind):
    """``fullgraph``: whatever would break the graph is an error."""
    torch.compiler.reset()
    model = attached(network, kind)
    expected = run(model, model)
    check_same(run(torch.compile(model, backend='eager', fullgraph=True), model), expected)


def check_same(found, expected) -> None:
    """Output and gradients, to rounding."""
    pairs = list(zip([found[0], *found[1]], [expected[0], *expected[1]], strict=True))
    # Some gradients are the rounding of sums that are zero, which is as large as what is summed.
    largest = max(float(theirs.abs().max()) for _, theirs in pairs)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=max(1e-5, 1e-6 * largest))


@pytest.mark.parametrize('kind', image_prompters())
def test_modules_of_layers_compiled_by_themselves(kind):
    """As ``module.compile()`` does, which leaves the forward of the whole as it is."""
    torch.compiler.reset()
    if refusal('plain', kind):
        return
    model = attached('plain', kind)
    expected = run(model, model)
    for block in find_prompted_network(model).net.model.blocks:
        block.attn.compile(backend='eager')
        block.mlp.compile(backend='eager')
    prompter = find_prompted_network(model).prompter
    try:
        found = run(model, model)
    except ValueError as error:
        found, said = None, str(error)
    if found is None:  # what acts in attention itself, or after it, does not get into a module that is called
        assert prompter.acts_between or 'memory' in prompter.doors
        assert 'is compiled by itself' in said
    else:
        check_same(found, expected)


def differ(found, expected):
    return (found - expected).norm()


def nearly(expected, longest):
    return 1e-5 * max(expected.norm(), 1e-2 * longest)


#: Of every way to go through a layer one, with the compiler that is the default.
BY_DEFAULT = [('plain', 'DeepPrompter'), ('swin v2', 'DeepPrompter'), ('EVA-02', 'ShallowPrompter')]


@pytest.mark.parametrize(
    ('network', 'kind'),
    rest_slow([pair for pair in product(NETWORKS, image_prompters()) if refusal(*pair) is None], few=BY_DEFAULT),
)
def test_compiled_by_default_it_learns_the_same(network, kind):
    """Gradients too, each to 1e-5 of its length, as training needs them."""
    torch.compiler.reset()
    model = attached(network, kind)
    with torch.no_grad():
        for parameter in model.prompter.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    torch.manual_seed(0)
    output, gradients = run(model, model)
    torch.manual_seed(0)
    compiled, found = run(torch.compile(model), model)
    longest = max(gradient.norm() for gradient in gradients)
    assert len(found) == len(gradients) > 1
    pairs = list(zip([compiled, *found], [output, *gradients], strict=True))
    if any(differ(*pair) > nearly(pair[1], longest) for pair in pairs):
        # Eager mode rounds too, where terms cancel: compiled, no sum may be further from its value in double precision.
        double = deepcopy(model).double()
        torch.manual_seed(0)
        output, gradients = run(lambda image: double(image.double()), double)
        for (ours, theirs), exact in zip(pairs, [output, *gradients], strict=True):
            assert differ(ours, exact) < max(nearly(exact, longest), differ(theirs, exact))


def test_folded_it_compiles_too():
    torch.compiler.reset()
    model = vptx.fold(attached('plain', 'DeepPrompter'))
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, backend='eager', fullgraph=True)(images()), model(images()))


@pytest.mark.parametrize(
    ('network', 'kind'),
    rest_slow(
        [('plain', kind) for kind in ('DeepPrompter', 'ShallowPrompter', 'AddedPrompter', 'PadPrompter', 'LoRA')]
        + [('swin', 'DeepPrompter'), ('EVA-02', 'DeepPrompter')],
        few=[('plain', 'PadPrompter'), ('plain', 'LoRA'), ('swin', 'DeepPrompter')],
    ),
)
def test_exported_it_takes_any_batch(network, kind):
    model, batch = attached(network, kind).eval(), torch.export.Dim('batch', min=1, max=64)
    models = [model, vptx.fold(deepcopy(model))] if kind == 'DeepPrompter' else [model]
    for each in models:
        exported = torch.export.export(each, (images(2),), dynamic_shapes=({0: batch},)).module()
        with torch.no_grad():
            torch.testing.assert_close(exported(images(5)), model(images(5)), rtol=1e-4, atol=1e-5)


def test_more_channels_are_exported_and_not_traced():
    model = attached('plain', 'ChannelPrompter').eval()
    with pytest.raises(RuntimeError, match=r'torch\.jit\.trace cannot record .* use torch\.export\.export'):
        torch.jit.trace(model, images())
    exported = torch.export.export(model, (images(),)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(images()), model(images()))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@every_pair
def test_half_precision_around_prompts_in_single(network, kind, dtype):
    model = attached(network, kind)
    expected, gradients = run(model, model)

    def halved(image):
        with torch.autocast('cpu', dtype):
            return model(image)

    output, found = run(halved, model)
    assert output.dtype == dtype
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert (output - expected).abs().max() < 0.1 * expected.abs().max()
    assert len(found) == len(gradients)
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in found)
    assert sum(gradient.abs().sum() for gradient in found) > 0
    with torch.autocast('cpu', dtype), torch.no_grad():
        if kind == 'DeepPrompter' and model.prompter._by_memory:
            assert vptx.fold(model)(images()).dtype == dtype


@every_pair
def test_gradients_of_small_batches_add_up_to_those_of_a_big_one(network, kind):
    whole, parts = attached(network, kind), attached(network, kind)
    before = deepcopy(whole.state_dict())
    big = [images(4, seed=seed) for seed in range(2)]
    train(whole, big)
    train(parts, [half for batch in big for half in batch.split(2)], parts=2)
    assert any(not torch.equal(value, before[name]) for name, value in whole.state_dict().items())
    for name, value in parts.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name], rtol=1e-4, atol=1e-5)


@every_pair
def test_an_average_of_weights_is_a_model_of_its_own(network, kind):
    """MMEngine's EMA copies the model: the copy has the averaged prompts, and calls no others."""
    model = attached(network, kind)
    average, expected = ExponentialMovingAverage(model, momentum=0.25), deepcopy(dict(model.named_parameters()))
    first = True

    def update() -> None:
        nonlocal first
        average.update_parameters(model)
        for name, parameter in model.named_parameters():
            mixed = parameter if first else torch.lerp(expected[name], parameter, 0.25)
            expected[name] = mixed.detach().clone()
        first = False

    train(model, [images(seed=seed) for seed in range(3)], after_step=update)
    other = attached(network, kind)
    other.load_state_dict({**model.state_dict(), **expected})
    with torch.no_grad():
        found = average.eval()(images())
        torch.testing.assert_close(found, other.eval()(images()))
        assert not torch.equal(found, model.eval()(images()))


@pytest.mark.parametrize(
    ('network', 'kind'),
    [
        (network, kind)
        for network, kind in product(['ResNet', 'ConvNeXt'], image_prompters())
        if ways_in(kind) == 'image' and refusal(network, kind) is None
    ],
)
def test_channels_last(network, kind):
    model = attached(network, kind)
    expected = run(model, model)
    layout = dict(memory_format=torch.channels_last)
    model.to(**layout)
    seen = []
    last = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    last.register_forward_hook(lambda module, inputs, output: seen.append(output.is_contiguous(**layout)))
    found = run(lambda batch: model(batch.to(**layout)), model)
    assert seen == [True]
    for ours, theirs in zip([found[0], *found[1]], [expected[0], *expected[1]], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
