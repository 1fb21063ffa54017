"""What somebody has put on or into the modules of a layer acts under prompts as it does in the library alone."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache

import pytest
import timm
import torch
from networks import BACKBONES, DEPTH, GRID, NETWORKS, PATCH, SIZE, WIDTH, images, tiny
from timm.utils import AttentionExtract
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.feature_extraction import create_feature_extractor

import vptx
from vptx.backbones import wrap_backbone
from vptx.prompted import PromptedNetwork
from vptx.readout import OWN

PROMPTS = 3
DEEP, SHALLOW = (dict(type=f'{kind}Prompter', num_tokens=PROMPTS) for kind in ('Deep', 'Shallow'))
#: A layer of each, in the middle.
LAYERS = {
    'plain': 'blocks.1',
    'query-key norm': 'blocks.1',
    'EVA-02': 'blocks.1',
    'DINOv3': 'blocks.1',
    'BEiT': 'blocks.1',
    'torchvision': 'encoder.layers.encoder_layer_1',
    'swin': 'layers.0.blocks.1',
    'swin, map smaller than window': 'layers.0.blocks.1',
    'swin v2': 'layers.0.blocks.1',
    'mmpretrain vit': 'layers.1',
    'mmpretrain swin': 'stages.0.blocks.1',
    'mmseg vit': 'layers.1',
    'mmseg swin': 'stages.0.blocks.1',
}
#: Those whose attention has a table for the tokens of an image alone.
FIXED = [name for name in LAYERS if 'swin' in name or name == 'BEiT']
every_network = pytest.mark.parametrize('network', LAYERS)


def prompted(model: nn.Module, prompter: dict = DEEP, tune: tuple[str, ...] = ()) -> nn.Module:
    """With the same prompts whenever it is called, as large as tokens are."""
    model = vptx.attach(PromptedNetwork(wrap_backbone(model), OWN), prompter, tune)
    with torch.no_grad():
        for parameter in model.prompter.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(3))
    return model.eval()


def flat(output) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else [tensor for part in output for tensor in flat(part)]


def assert_same(ours, theirs, bound: float = 1e-5) -> None:
    for mine, other in zip(flat(ours), flat(theirs), strict=True):
        torch.testing.assert_close(mine, other, rtol=bound, atol=bound * other.abs().max().item())


@cache
def called(network: str) -> dict[str, tuple[int, ...]]:
    """The modules of the layer that the library calls, with the shapes of what goes in."""
    model, shapes = tiny(network), {}
    layer = model.get_submodule(LAYERS[network])
    for name, module in layer.named_modules():
        module.register_forward_hook(
            lambda _, inputs, __, name=name: (
                shapes.setdefault(name, []).append(tuple(inputs[0].shape)) if inputs else None
            )
        )
    with torch.enable_grad():  # torch's attention for inference calls nothing
        model(images())
    return {name: found[0] for name, found in shapes.items() if len(found) == 1}


@pytest.mark.parametrize('prompter', [DEEP, SHALLOW], ids=['deep', 'shallow'])
@every_network
def test_a_hook_on_any_module_fires_once_and_changes_nothing(network, prompter):
    expected = prompted(tiny(network), prompter)(images())
    assert 'swin' in network or len(called(network)) > 3
    for name, shape in called(network).items():
        model, seen = tiny(network), []
        part = model.get_submodule(LAYERS[network]).get_submodule(name)
        part.register_forward_hook(lambda _, inputs, output, seen=seen: seen.append(tuple(inputs[0].shape)))
        assert_same(prompted(model, prompter)(images()), expected)
        assert len(seen) == 1, name
        if 'swin' not in network and len(shape) == 3:
            # As many tokens as in the library, and prompts where they are tokens.
            assert seen[0] in [shape, (shape[0], shape[1] + PROMPTS, *shape[2:])], name


@pytest.mark.parametrize('kind', ['forward_pre', 'full_backward', 'full_backward_pre'])
@every_network
def test_hooks_of_every_kind(network, kind):
    model, seen = tiny(network), []
    layer = model.get_submodule(LAYERS[network])
    attention = next(part for name, part in layer.named_modules() if name in ('attn', 'self_attention'))
    getattr(attention, f'register_{kind}_hook')(lambda *arguments: seen.append(1))
    sum(tensor.sum() for tensor in flat(prompted(model)(images()))).backward()
    assert seen == [1]


@every_network
def test_a_listener_to_all_modules_hears_the_layer(network):
    expected, seen = prompted(tiny(network))(images()), []
    model = prompted(tiny(network))
    layer = type(model.net.module_of(1))
    handle = register_module_forward_hook(lambda module, *_: seen.append(1) if type(module) is layer else None)
    try:
        output = model(images())
    finally:
        handle.remove()
    assert_same(output, expected)
    assert len(seen) == model.net.geometry.depth


class LoRALinear(nn.Linear):
    """As adapters of the field have it: a linear layer with the frozen weight, and more."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None)
        self.weight, self.bias = base.weight, base.bias
        self.a = nn.Parameter(0.2 * torch.randn(2, base.in_features))
        self.b = nn.Parameter(0.2 * torch.randn(base.out_features, 2))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x @ self.a.T @ self.b.T


def linears(network: str) -> list[str]:
    """Names in the model of the linear layers that the library calls in the layer."""
    names = [f'{LAYERS[network]}.{name}' for name in called(network) if name]
    return [name for name in names if isinstance(tiny(network).get_submodule(name), nn.Linear)]


@pytest.mark.parametrize('prompter', [DEEP, SHALLOW], ids=['deep', 'shallow'])
@every_network
def test_lora_in_a_layer_acts_and_trains(network, prompter):
    names = linears(network)
    assert len(names) >= 2
    for name in names:
        torch.manual_seed(0)
        model, merged = tiny(network), tiny(network)
        lora = LoRALinear(model.get_submodule(name))
        model.set_submodule(name, lora)
        with torch.no_grad():
            merged.get_submodule(name).weight += lora.b @ lora.a
        model = prompted(model, prompter, (r'.*\.(a|b)',))
        output = model(images())
        assert_same(output, prompted(merged, prompter)(images()))
        sum(tensor.square().sum() for tensor in flat(output)).backward()
        assert lora.a.grad.any() and lora.b.grad.any(), name


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@every_network
def test_parametrised_weights(network):
    for name in linears(network):
        model, other = tiny(network), tiny(network)
        parametrize.register_parametrization(model.get_submodule(name), 'weight', Double())
        other.get_submodule(name).weight.data *= 2
        model = prompted(model)
        assert_same(model(images()), prompted(other)(images()))
        assert parametrize.is_parametrized(model.net.model.get_submodule(name))


@every_network
def test_a_patched_forward_is_called_or_the_layer_is_refused(network):
    expected = prompted(tiny(network))(images())
    for name in called(network):
        model, calls = tiny(network), []
        part = model.get_submodule(LAYERS[network]).get_submodule(name)
        original = part.forward
        part.forward = lambda *inputs, original=original, calls=calls, **more: (
            calls.append(1),
            original(*inputs, **more),
        )[1]
        model = prompted(model)
        if network in FIXED and name in ('', 'attn', 'attn.w_msa'):
            with pytest.raises(ValueError, match=r'layer 1 of .*forward that has been replaced.*prompter on the image'):
                model(images())
            continue
        assert_same(model(images()), expected)
        assert len(calls) == 1, name


@pytest.mark.parametrize('network', ['plain', 'DINOv3', 'swin', 'mmpretrain vit', 'mmpretrain swin'])
def test_quantised_networks(network):
    def quantise(model: nn.Module) -> nn.Module:
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)

    def count(model: nn.Module) -> int:
        return sum('quantized' in type(part).__module__ for part in model.modules())

    expected = prompted(tiny(network))(images())
    for model in (quantise(prompted(tiny(network))), prompted(quantise(tiny(network)))):
        assert count(model) == count(quantise(tiny(network))) > 0
        for ours, theirs in zip(flat(model(images())), flat(expected), strict=True):
            assert not torch.equal(ours, theirs)
            assert (ours - theirs).abs().max() < 0.2 * theirs.abs().max()


def test_a_hook_on_a_folded_layer_finds_its_prompts_again():
    model = vptx.fold(prompted(tiny()))
    expected, seen = model(images()), []
    handle = model.net.module_of(1).attn.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    assert_same(model(images()), expected)
    handle.remove()
    assert seen == [1 + PROMPTS + GRID**2]
    assert torch.equal(model(images()), expected)


def test_layers_with_hooks_are_not_folded():
    model = prompted(tiny())
    expected = model(images())
    model.net.module_of(1).register_forward_hook(lambda *_: None)
    assert vptx.fold(model).folded == {0, 2}
    assert_same(model(images()), expected)


def test_hooks_that_change_what_a_module_gives():
    """Queries, keys and values of the prompts too: the same as from weights that give so from the start."""
    model, other = tiny(), tiny()
    model.blocks[1].attn.qkv.register_forward_hook(lambda _, __, output: 2 * output)
    for parameter in other.blocks[1].attn.qkv.parameters():
        parameter.data *= 2
    assert_same(prompted(model)(images()), prompted(other)(images()))


def test_attention_is_extracted_by_timm():
    model = tiny()
    for block in model.blocks:
        block.attn.fused_attn = False
    found = AttentionExtract(prompted(model), names=['*attn_drop'], method='hook')(images())
    tokens = 1 + PROMPTS + GRID**2
    assert [tuple(maps.shape) for maps in found.values()] == [(2, 4, tokens, tokens)] * DEPTH
    assert all(torch.allclose(maps.sum(-1), torch.ones(())) for maps in found.values())


def test_saliency_of_the_last_norm():
    """As Grad-CAM asks for it: activations and gradients of a module, of one shape."""
    model, seen = tiny(), []
    model.blocks[-1].norm1.register_forward_hook(lambda _, __, output: output.retain_grad() or seen.append(output))
    prompted(model)(images())[:, 0].sum().backward()
    (activation,) = seen
    assert activation.shape[1] == 1 + PROMPTS + GRID**2
    assert activation.grad[:, 1:].abs().sum() > 0


@pytest.mark.parametrize('prompter', [DEEP, SHALLOW], ids=['deep', 'shallow'])
def test_operations_are_counted(prompter):
    def count(model: Callable) -> int:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(images())
        return counter.get_total_flops()

    library = count(tiny())
    assert library < count(prompted(tiny(), prompter)) < 1.4 * library  # the prompts too


def test_the_library_model_can_be_traced():
    library = timm.create_model(
        'vit_tiny_patch16_224', img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=2, num_heads=2
    )
    model = prompted(library)
    extracted = create_feature_extractor(model.net.model, ['blocks.1'])(images())
    assert extracted['blocks.1'].shape == (2, 1 + GRID**2, WIDTH)


def test_a_compiled_block_is_called():
    model, expected = tiny(), prompted(tiny())(images())
    for block in model.blocks:
        block.compile(backend='eager')
    model = prompted(model)
    assert not model.net.is_spelt(0)
    assert_same(model(images()), expected)


@pytest.mark.parametrize('network', [*NETWORKS, *BACKBONES])
def test_layers_of_networks_as_they_come_are_spelt_out(network):
    net = wrap_backbone(tiny(network))
    assert {net.is_spelt(layer) for layer in range(net.geometry.depth)} <= {'memory' in net.geometry.doors}


def test_other_weights_for_one_call_are_those_that_count():
    """torch.func.functional_call: the network's weights, replaced while it runs."""
    model = prompted(tiny())
    other = deepcopy(model)
    weights = {name: parameter.detach() * 1.1 for name, parameter in other.named_parameters()}
    found = torch.func.functional_call(model, weights, (images(),))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter *= 1.1
    assert_same(found, other(images()))
