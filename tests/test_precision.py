"""Networks in half and in double precision, before and after attach; devices without double precision."""

from itertools import product

import pytest
import torch
from covering import FINITE, covering, few_pairs, shape
from networks import BACKBONES, CLASSES, NETWORKS, SIZE, class_mappings, config, image_prompters, images, tiny
from torch.utils._python_dispatch import TorchDispatchMode

import vptx
from vptx.registry import MAPPINGS, PROMPTERS

for registry in (PROMPTERS, MAPPINGS):
    registry.import_from_location()

DTYPES = [torch.bfloat16, torch.float16, torch.float64]
KINDS = [kind for kind in image_prompters() if kind != 'StackedPrompter']
PAIRS = [*few_pairs(FINITE, KINDS), ('mmpretrain vit', 'DeepPrompter')]
every_pair = pytest.mark.parametrize(('network', 'kind'), PAIRS)


def first(output):
    while isinstance(output, (tuple, list)):
        output = output[0]
    return output


@every_pair
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_a_network_in_another_precision(network, kind, dtype):
    """Turned before attach, or after it: the same prompts make the same output, near to that in single precision."""
    torch.manual_seed(0)
    single = vptx.attach(tiny(network), config(kind)).eval()
    before = vptx.attach(tiny(network).to(dtype), config(kind)).eval()
    assert {p.dtype for p in before.parameters() if p.is_floating_point()} == {dtype}
    before.prompter.load_state_dict(single.prompter.state_dict())
    expected = first(single(images()))
    after = single.to(dtype)
    for model in (before, after):
        found = first(model(images().to(dtype)))
        assert found.dtype == dtype
        assert found.isfinite().all()
        bound = 1e-4 if dtype == torch.float64 else 0.25
        assert (found.float() - expected).abs().max() < bound * expected.abs().max()
    before.train()
    loss = first(before(images().to(dtype))).float().square().mean()
    (loss + sum(before.prompter.loss().values())).backward()
    gradients = [p.grad for p in before.prompter.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    ('network', 'dtype'),
    covering(
        product([name for name in (*NETWORKS, *BACKBONES) if 'tokens' in shape(name)[0]], DTYPES),
        lambda network, dtype: network,
        lambda network, dtype: (shape(network), dtype),
    ),
    ids=str,
)
def test_deep_prompts_folded_in_another_precision(network, dtype):
    model = vptx.attach(tiny(network).to(dtype), config('DeepPrompter')).eval()
    if model.prompter._by_memory:
        image = images().to(dtype)
        expected = first(model(image))
        found = first(vptx.fold(model)(image))
        # Swin V2, library and all, has NaN in float16 where windows are padded.
        assert torch.allclose(found, expected, rtol=0.05, atol=0.05, equal_nan=True)


class NoDouble(TorchDispatchMode):
    """A device without double precision."""

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        output = operator(*arguments, **(options or {}))
        found = [part for part in torch.utils._pytree.tree_leaves(output) if isinstance(part, torch.Tensor)]
        if any(part.dtype == torch.float64 for part in found):
            raise TypeError(f'{operator} made double precision')
        return output


def test_the_device_without_double_refuses_it():
    with pytest.raises(TypeError, match='made double precision'), NoDouble():
        torch.zeros(2).double()


@pytest.mark.parametrize('kind', KINDS)
def test_no_prompter_needs_double_precision(kind):
    with NoDouble():
        model = vptx.attach(tiny(), config(kind)).train()
        model(images()).square().mean().backward()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('kind', class_mappings())
def test_no_mapping_needs_double_precision(kind, dtype):
    model = vptx.attach(tiny().to(dtype), mapping=dict(type=kind, num_classes=3)).eval()
    batches = [(images(4, seed=seed).to(dtype), torch.tensor([0, 1, 2, 0])) for seed in range(2)]
    with NoDouble():
        if hasattr(model.mapping, 'estimate'):
            vptx.estimate_mapping(model, batches)
        output = model(images().to(dtype))
    assert output.shape == (2, 3)
    assert output.dtype == dtype


def test_counts_are_exact_in_half_precision():
    mapping = MAPPINGS.build(dict(type='FrequencyMapping', num_classes=2))
    logits = torch.zeros(600, CLASSES, dtype=torch.bfloat16)
    logits[:, 4] = 1
    targets = torch.nn.functional.one_hot(torch.zeros(600, dtype=torch.long), 2)
    assert mapping.count(logits, targets)[4, 0] == 600  # in bfloat16 257 would be 256


@pytest.mark.parametrize('kind', ['ReprogramPrompter', 'ScalePrompter'])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_an_image_is_made_small_in_half_precision(kind, dtype):
    model = vptx.attach(tiny().to(dtype), config(kind)).eval()
    image = images(size=(2 * SIZE, 2 * SIZE))
    found = model.prompter.place(image.to(dtype))
    expected = vptx.attach(tiny(), config(kind)).eval().prompter.place(image)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.05)
