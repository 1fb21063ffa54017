"""Every prompter under the engines that make networks fast: compiled whole, and in half precision."""

import pytest
import torch
from networks import config, images, tiny

import vptx
from vptx.backbones import take_apart
from vptx.registry import PROMPTERS

PROMPTERS.import_from_location()
#: Every prompter on one network, and prompts on those whose attention is another.
PAIRS = [('plain', kind) for kind in sorted(PROMPTERS.module_dict)] + [
    (network, 'DeepPrompter') for network in ('distilled', 'query-key norm', 'swin', 'swin v2')
]
every_pair = pytest.mark.parametrize(('network', 'kind'), PAIRS)


def plug(network: str, kind: str) -> torch.nn.Module:
    """The network prompted, in training mode without dropout."""
    prompter = PROMPTERS.get(kind)
    if not prompter.doors <= take_apart(tiny(network)).geometry.doors:
        pytest.skip(f'{network} lacks a door that {kind} needs')
    torch.manual_seed(0)
    return vptx.attach(tiny(network), config(kind), tune=['head']).train()


def run(call, model: torch.nn.Module) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Output, and gradients of what trains."""
    model.zero_grad()
    output = call(images())
    output.float().square().sum().backward()
    return output.detach(), [p.grad.clone() for p in model.parameters() if p.requires_grad and p.grad is not None]


@every_pair
def test_compiled_in_one_graph(network, kind):
    """``fullgraph``: whatever would break the graph is an error."""
    torch.compiler.reset()
    model = plug(network, kind)
    expected = run(model, model)
    found = run(torch.compile(model, backend='eager', fullgraph=True), model)
    for ours, theirs in zip([found[0], *found[1]], [expected[0], *expected[1]], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_folded_it_compiles_too():
    torch.compiler.reset()
    model = vptx.fold(plug('plain', 'DeepPrompter'))
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, backend='eager', fullgraph=True)(images()), model(images()))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@every_pair
def test_half_precision_around_prompts_in_single(network, kind, dtype):
    model = plug(network, kind)
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
        if kind == 'DeepPrompter':
            assert vptx.fold(model)(images()).dtype == dtype
