"""Every prompter on every tiny network: the same questions to all. Both are found in the registries, not listed.

A covering set of the pairs is asked at once, the others in the slow tests (``covering.py``).

A new prompter is asked from the day it is registered; a new net must bring a tiny network (``networks.py``).
"""

import re
from copy import deepcopy
from dataclasses import replace
from itertools import product
from math import isqrt

import numpy as np
import pytest
import torch
from covering import covering, covering_pairs, refusal, shape
from mmpretrain.models import ImageClassifier
from networks import (
    BACKBONES,
    CLASSES,
    DEPTH,
    GRID,
    HUGGING_FACE,
    NETWORKS,
    SIZE,
    VARIANTS,
    WHOLE,
    WIDTH,
    Seen,
    classifier,
    config,
    image_prompters,
    images,
    middle,
    tiny,
    wrapped,
)
from timm.utils import ModelEmaV3
from torch import Tensor, nn

import vptx
from vptx.attach import find_prompted_network
from vptx.backbones import Net, wrap_backbone
from vptx.geometry import At
from vptx.prompted import PromptedBackbone, PromptedNetwork
from vptx.prompters import Prompter, StackedPrompter, TokenPrompter
from vptx.readout import OWN, READOUTS, READS_PROMPTS
from vptx.registry import NETS, PROMPTERS

for registry in (PROMPTERS, NETS):
    registry.import_from_location()


class FromImage(TokenPrompter):
    """Of a user: every sample has prompts of its own, made from its own tokens (and none can be folded)."""

    def bind(self, geometry, reads_prompts=False):
        super().bind(geometry, reads_prompts)
        self.base = nn.ParameterList(torch.randn(self.num_tokens, width) for width in geometry.widths)
        self.mix = nn.Parameter(torch.randn(self.num_tokens, 1))

    def prompts(self, tokens, at):
        return self.base[at.layer] + self.mix * tokens.mean(1, keepdim=True)


class Both(StackedPrompter):
    """Of a user: pixels on the image and tokens in the layers."""

    doors = frozenset({'image', 'tokens'})

    def __init__(self):
        super().__init__([dict(type='PixelPrompter'), dict(type='DeepPrompter', num_tokens=3)])


class OnImage(Prompter):
    """Of a user: pixels added to the image, by door 1."""

    doors = frozenset({'image'})

    def bind(self, geometry, reads_prompts=False):
        self.delta = nn.Parameter(torch.randn(3, *geometry.patch))

    def image(self, image):
        rows, columns = (image.shape[-2 + i] // self.delta.shape[-2 + i] for i in (0, 1))
        return image + self.delta.repeat(1, rows, columns)


USERS = [FromImage, OnImage, Both]
KINDS = [*image_prompters(), *USERS]
DEEP = {
    'all layers': {},
    'shared': dict(shared=True),
    'projected': dict(project_dim=5),
    'first layer': dict(layers=[0]),
    'last layer': dict(layers=[-1]),
    'with a gap': dict(layers=[0, 2]),
    'dropped': dict(layers=[0, 1], carry=False),
    'dropout': dict(dropout=0.3),
    'one mask for all': dict(dropout=0.3, dropout_per='batch'),
}

# A prompter that changes the image alone is asked on one network of each kind.
FIRST = {type(wrapped(name)): name for name in reversed(NETWORKS)}.values()
PAIRS = [
    (network, kind)
    for network in NETWORKS
    for kind in KINDS
    if network in FIRST or (PROMPTERS.get(kind) if isinstance(kind, str) else kind).doors != {'image'}
]

# Of those that do not go together it is asked once that they say so.
REFUSED = [pair for pair in PAIRS if refusal(*pair)]
PAIRS = [pair for pair in PAIRS if pair not in REFUSED]

# How what is learnt is kept, copied and put in and out of training depends on the net, not on what is in its blocks.
FAMILIES = [(network, kind) for network, kind in PAIRS if network in FIRST]

every_variant = pytest.mark.parametrize('network', [*NETWORKS, *VARIANTS])
every_pair, every_family = (
    pytest.mark.parametrize(
        ('network', 'kind'), covering_pairs(pairs), ids=lambda part: part if isinstance(part, str) else part.__name__
    )
    for pairs in (PAIRS, FAMILIES)
)


def attached(network: str, kind: str | type[Prompter], seed: int = 1, **arguments) -> nn.Module:
    """The network with the prompter attached, in eval mode."""
    model = tiny(network)
    torch.manual_seed(seed)
    return learnt(vptx.attach(model, config(kind), **arguments)).eval()


def learnt(model: nn.Module) -> nn.Module:
    """The prompter as after some training: adapters and their like begin as the network itself."""
    with torch.no_grad():
        for parameter in model.prompter.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def without_memory(model: nn.Module) -> PromptedNetwork:
    """The prompted network of a bare network whose door 3 is shut: every prompt has to enter as a token, and of the
    last layer all rows are computed."""
    net = wrap_backbone(model)
    net.geometry = replace(net.geometry, doors=net.geometry.doors - {'memory'})
    net.first_rows = lambda *arguments: None
    return PromptedNetwork(net, OWN)


def last_map(prompted_network: PromptedNetwork) -> tuple[int, int]:
    """Width and side of the last layer's map."""
    facts = prompted_network.net.geometry
    return facts.widths[-1] if facts.widths else WIDTH, isqrt(facts.length(facts.depth - 1) - facts.prefix)


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def test_every_net_has_a_tiny_network():
    # BACKBONES and WHOLE: tests/backbones/test_openmmlab_*.py; HUGGING_FACE: test_hugging_face_nets.py
    asked = {type(wrapped(name)) for name in (*NETWORKS, *BACKBONES, *WHOLE, *HUGGING_FACE)}
    missing = {name for name, net in NETS.module_dict.items() if net not in asked}
    assert not missing, f'add a tiny network for {missing} to tests/networks.py'


@pytest.mark.parametrize('kind', [kind for kind in PROMPTERS.module_dict if 'inside' in PROMPTERS.get(kind).doors])
def test_prompts_and_what_changes_layers_from_inside_go_together(kind):
    """Both act in every layer."""
    torch.manual_seed(0)
    model = learnt(vptx.attach(tiny(), [config(kind), config('DeepPrompter')])).eval()
    model(images()).square().sum().backward()
    for name, parameter in model.prompter.named_parameters():
        assert parameter.grad.abs().max() > 0, name


INSIDE = [kind for kind in PROMPTERS.module_dict if 'inside' in PROMPTERS.get(kind).doors]
WITH_MEMORY = [name for name in NETWORKS if {'memory', 'inside'} <= wrapped(name).geometry.doors]


@pytest.mark.parametrize(
    ('network', 'kind'),
    covering(
        [
            (network, kind)
            for network, kind in product(WITH_MEMORY, INSIDE)
            if refusal(network, kind) is None and 'tokens' not in PROMPTERS.get(kind).doors
        ],
        lambda network, kind: kind,
        lambda network, kind: network,
    ),
)
def test_two_prompters_with_memory_and_one_inside_compute_what_tokens_do(network, kind):
    """Layers with a module that is changed from inside are called, with prompts among their tokens."""
    found, image = [], images()
    for make in (lambda model: PromptedNetwork(wrap_backbone(model), OWN), without_memory):
        torch.manual_seed(1)
        deep = [dict(type='DeepPrompter', num_tokens=number) for number in (3, 2)]
        if make is without_memory:  # of which one prompter may add tokens
            deep = [dict(type='DeepPrompter', num_tokens=5)]
        model = vptx.attach(make(tiny(network)), [config(kind), *deep]).eval()
        generator, rows = torch.Generator().manual_seed(2), torch.Generator().manual_seed(3)
        inside, *prompters = model.prompter.prompters
        with torch.no_grad():
            for parameter in inside.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
            for layer, width in enumerate(model.net.geometry.widths):
                prompts = torch.randn(5, width, generator=rows)
                for prompter, part in zip(prompters, prompts.split([p.num_tokens for p in prompters]), strict=True):
                    prompter.embedding.rows[layer].copy_(part)
        found.append(model(image))
    assert relative(*found) < 2e-6


# The network alone


@every_variant
@pytest.mark.parametrize('training', [False, True])
def test_without_prompter_it_is_the_library_network(network, training):
    """Bit for bit, in training mode too, where everything trains (dropout and drop path draw alike)."""
    model, image = tiny(network), images(3)
    model.train(training)
    torch.manual_seed(0)
    expected = model(image)
    prompted_network = vptx.attach(model, tune=['.*'])
    prompted_network.train(training)
    torch.manual_seed(0)
    assert torch.equal(prompted_network(image), expected)
    assert prompted_network.net.model is model


@every_variant
def test_default_readout_is_the_librarys_own_pooling(network):
    model, image = tiny(network), images()
    prompted_network = PromptedNetwork(wrap_backbone(model)).eval()
    if not hasattr(model, 'forward_features'):  # torchvision does not cut its forward in two
        if prompted_network.readout != OWN:
            setattr(model, 'heads' if hasattr(model, 'heads') else 'head', nn.Sequential(nn.Identity()))
        assert torch.equal(prompted_network(image), model(image))
        return
    tokens = model.forward_features(image)
    # timm averages a distilled network's two kinds of token here; ours is the class token, as the name says.
    expected = (
        tokens[:, 0]
        if network == 'distilled'
        else model.forward_head(tokens, pre_logits=prompted_network.readout != OWN)
    )
    assert torch.equal(prompted_network(image), expected)


@every_variant
def test_the_classifier_is_what_gives_the_networks_classes(network):
    net = wrap_backbone(tiny(network))
    weights = [p for p in net.classifier.parameters() if p.dim() > 1] if net.classifier is not None else []
    assert {len(weight) for weight in weights} == ({net.geometry.classes} if net.geometry.classes else set())


@every_variant
@pytest.mark.parametrize('size', [(48, 48), (32, 48), (16, 16)])
def test_any_image_size_as_the_library_interpolates_it(network, size):
    model, image = tiny(network), images(size=size)
    prompted_network = vptx.attach(model)
    if not prompted_network.net.geometry.any_size:
        with pytest.raises(ValueError, match=f'an image of {size[0]} x {size[1]} px, but .* was built for 32 x 32 px'):
            prompted_network(image)
        return
    library = tiny(network).requires_grad_(False)  # which some kernels go by
    assert torch.equal(prompted_network(image), library(image))


@every_variant
def test_an_image_that_patches_do_not_divide_is_refused(network):
    prompted_network = PromptedNetwork(wrap_backbone(tiny(network)))
    facts, image = prompted_network.net.geometry, images(size=(32, 30))
    if facts.patch == (1, 1) and facts.any_size:
        assert prompted_network(image).isfinite().all()
        return
    height, width = facts.patch
    message = f'patches of {height} x {width} px do not divide an image of 32 x 30 px'
    if facts.patch == (1, 1):
        message = r'an image of 32 x 30 px, but .* was built for 32 x 32 px'
    elif network in ('NaFlex with a convolution', 'torchvision swin', 'torchvision swin v2'):  # leave out the edge
        assert torch.equal(vptx.attach(tiny(network))(image), tiny(network)(image))
        return
    with pytest.raises(ValueError, match=message):
        prompted_network(image)


# The pair


@pytest.mark.parametrize(
    ('network', 'kind'), covering(REFUSED, lambda network, kind: kind, lambda network, kind: network), ids=str
)
def test_what_does_not_go_together_says_so_and_leaves_the_network_alone(network, kind):
    model, expected = tiny(network), tiny(network)(images())
    with pytest.raises(ValueError, match=refusal(network, kind)):
        vptx.attach(model, config(kind))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(model(images()), expected)


@every_pair
def test_readouts_have_their_shapes_or_are_refused(network, kind):
    probe, image = attached(network, kind), images(2)
    width, side = last_map(probe)
    grid = tuple(-(-side * pixels // SIZE) for pixels in probe.prompter.image(image).shape[-2:])
    for readout in (*READOUTS, OWN):
        model = PromptedBackbone(wrap_backbone(tiny(network)))
        has_class_token, at_end = probe.net.has_class_token, probe.prompter.prompts_at_end
        whole = readout != OWN and not probe.net.geometry.tokens
        if whole or (readout == 'cls' and not has_class_token) or (readout in READS_PROMPTS and not at_end):
            with pytest.raises(ValueError, match=re.escape(f"readout '{readout}' cannot be served")) as error:
                vptx.attach(model, config(kind), readout=readout)
            assert 'Here you can have: logits' in str(error.value)
            continue
        (feature,) = vptx.attach(model, config(kind), readout=readout).eval()(image)
        assert feature.shape == {'map': (2, width, *grid), OWN: (2, CLASSES)}.get(readout, (2, width)), readout
        assert feature.isfinite().all(), readout


@every_pair
def test_a_prompter_makes_a_difference(network, kind):
    model, image = attached(network, kind), images()
    assert relative(model(image), tiny(network)(image)) > 5e-5


@every_pair
@pytest.mark.parametrize('training', [False, True])
def test_samples_do_not_mix(network, kind, training):
    model, batch = attached(network, kind), images(3)
    model.train(training)
    other = batch.clone()
    other[0] = images(1, seed=9)[0]
    outputs = []
    for image in (batch, other):
        torch.manual_seed(0)
        outputs.append(model(image))
    assert torch.equal(outputs[0][1:], outputs[1][1:])
    assert not torch.equal(outputs[0][0], outputs[1][0])
    if not training:
        singles = torch.cat([model(image[None]) for image in batch])
        assert relative(singles, outputs[0]) < 1e-5


@every_pair
@pytest.mark.parametrize('training', [False, True])
def test_of_no_images_it_gives_nothing(network, kind, training):
    """In the shape and with the graph of any batch: a detector without proposals trains on."""
    model = attached(network, kind).train(training)
    image = images(0).requires_grad_()
    output = model(image)
    assert output.shape == (0, CLASSES) and output.dtype == torch.float32
    output.sum().backward()
    assert all(not parameter.grad.any() for parameter in model.prompter.parameters() if parameter.grad is not None)
    assert image.grad.shape == image.shape


@every_pair
def test_gradients_reach_the_prompter_and_what_is_tuned_and_nothing_else(network, kind):
    head, part = f'{classifier(network)}.weight', middle(network)
    model = attached(network, kind, tune=[head, part])
    model.train()
    (model(images(3)).square().sum() + sum(model.prompter.loss().values())).backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None}
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    prompts = {f'prompter.{name}' for name, _ in model.prompter.named_parameters()}
    block = {f'net.model.{part}.{name}' for name, _ in model.net.model.get_submodule(part).named_parameters()}
    assert prompts
    # A token that is alone on its map has nothing to choose from, so LoRA's queries learn nothing there.
    alone = [layer for layer, length in enumerate(find_prompted_network(model).net.geometry.lengths) if length == 1]
    silent = {name for name in prompts for layer in alone if f'.q_{layer}.' in name}
    net = find_prompted_network(model).net
    if kind == 'Rein' and (net.own_rows or net.readout == 'cls'):  # of the last layer the class token alone is read
        silent |= {name for name in prompts if name.endswith(f's.{len(model.prompter.layers) - 1}')}
    assert touched | silent == prompts | block | {f'net.model.{head}'}
    assert reached == touched - silent


@every_pair
def test_checkpointing_keeps_less_and_changes_no_gradient(network, kind):
    """Of frozen blocks and of one that is tuned, under whatever a training draws."""
    model = attached(network, kind, tune=[middle(network)]).train()
    if not model.net.geometry.depth:
        with pytest.raises(ValueError, match='computes its layers in one piece'):
            model.set_grad_checkpointing()
        return
    kept, found = [], []

    def keep(tensor: Tensor) -> Tensor:
        kept[-1] += tensor.numel()
        return tensor

    for enable in (False, True):
        model.set_grad_checkpointing(enable)
        model.zero_grad()
        kept.append(0)
        torch.manual_seed(0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            output = model(images())
        output.square().sum().backward()
        found.append([output, *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    assert all(torch.equal(plain, again) for plain, again in zip(*found, strict=True))
    assert kept[1] < kept[0]


@every_family
def test_init_weights_leaves_network_and_prompts_alone(network, kind):
    prompted_network = PromptedBackbone(wrap_backbone(tiny(network)))
    head = dict(
        type='LinearClsHead', num_classes=CLASSES, in_channels=WIDTH, init_cfg=dict(type='Normal', layer='Linear')
    )
    model = vptx.attach(ImageClassifier(prompted_network, head=head), config(kind))
    before, drawn = deepcopy(prompted_network.state_dict()), model.head.fc.weight.clone()
    model.init_weights()
    prompted_network.init_weights()
    after = prompted_network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before | after)
    assert not torch.equal(drawn, model.head.fc.weight)  # it did reach the rest


@every_family
def test_what_is_frozen_stays_in_eval_mode(network, kind):
    part = middle(network)
    model = attached(network, kind, tune=[part])
    assert model.train() is model
    assert model.training
    assert all(module.training for module in model.prompter.modules())
    modes = {name: module.training for name, module in model.net.model.named_modules()}
    assert {name for name, mode in modes.items() if mode} == {n for n in modes if f'{n}.'.startswith(f'{part}.')}
    assert model.eval() is model
    assert not any(module.training for module in model.modules())


@every_family
def test_saved_and_loaded_into_a_fresh_copy_it_is_the_same(network, kind, tmp_path):
    model, image = attached(network, kind, tune=[classifier(network)]), images()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    names = [f'class {i}' for i in range(CLASSES)]
    vptx.save_prompt(model, tmp_path / 'prompt.safetensors', classes=names)
    fresh = attached(network, kind, seed=2, tune=[classifier(network)])
    assert not torch.equal(fresh(image), model(image))
    facts = vptx.load_prompt(fresh, tmp_path / 'prompt.safetensors')
    assert torch.equal(fresh(image), model(image))
    assert facts['classes'] == names


@every_pair
def test_detach_gives_back_the_same(network, kind):
    attach_and_detach(network, kind, training=True)


@every_family
def test_detach_gives_back_the_same_in_eval_mode(network, kind):
    attach_and_detach(network, kind, training=False)


def attach_and_detach(network, kind, training):
    model, image = tiny(network), images()
    for parameter in list(model.parameters())[::2]:
        parameter.requires_grad = False
    expected, state = model(image), deepcopy(model.state_dict())
    model.train(training)
    list(model.modules())[-1].train(not training)  # as of batch norms that are kept still
    modes = [module.training for module in model.modules()]
    flags = [parameter.requires_grad for parameter in model.parameters()]
    plugged = vptx.attach(model, config(kind), tune=[classifier(network)])
    plugged.train(not training)
    plugged(images(3))
    back = vptx.detach(plugged)
    assert back is model
    assert [parameter.requires_grad for parameter in back.parameters()] == flags
    assert [module.training for module in back.modules()] == modes
    assert list(back.state_dict()) == list(state)
    assert torch.equal(back.eval()(image), expected)


@every_family
def test_deepcopy_is_equal_and_apart(network, kind):
    model, image = attached(network, kind, tune=[classifier(network)]), images()
    expected = model(image)
    copy = deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(copy(image), expected)
    bare = vptx.detach(copy)
    assert torch.equal(bare(image), tiny(network)(image))
    assert all(parameter.requires_grad for parameter in bare.parameters())
    assert find_prompted_network(model).attach_state is not None


ON_IMAGE = [
    'BorderPrompter',
    'CoordinatorPrompter',
    'LowRankPrompter',
    'PatchPrompter',
    'PixelPrompter',
    'SampleMaskPrompter',
]
# In the middle of what is learnt an image of any size is made small.
ANY_SIZE = ['ReprogramPrompter', 'ScalePrompter']
# What is learnt for each pixel or token of an image is learnt for images of one size.
ONE_SIZE = {
    'AddedPrompter': "keep the network's own image size, or use per_token=False",
    'PadPrompter': 'PadPrompter has learnt a frame for images of 32 x 32 px, this one has .* x 48: keep one size',
    **{kind: f'{kind} has learnt pixels for images of 32 x 32 px, this one has .* x 48: keep one' for kind in ON_IMAGE},
    Both: 'PixelPrompter has learnt pixels for images of 32 x 32 px, this one has .* x 48: keep one',
    'AdaptivePrompter': 'AdaptivePrompter has learnt weights for .* patches before layer 1, this image has',
    'ChannelPrompter': 'ChannelPrompter has learnt channels for images of 32 x 32 px, this one has .* x 48: keep one',
}


@every_pair
def test_another_image_size_works_or_is_refused(network, kind):
    model, size = attached(network, kind), (32, 48)
    if kind in ONE_SIZE or not (model.net.geometry.any_size or kind in ANY_SIZE):
        with pytest.raises(ValueError, match=f'{ONE_SIZE.get(kind, "was built for")}|was built for'):
            model(images(size=size))
        return
    assert model(images(size=size)).shape == (2, CLASSES)


# Door 3 and door 2 are the same

BOUNDS = {torch.float32: 2e-6, torch.float64: 1e-12}


@pytest.mark.parametrize(
    ('network', 'name', 'dtype'),
    covering(
        product([name for name in NETWORKS if 'tokens' in wrapped(name).geometry.doors], DEEP, BOUNDS),
        lambda network, name, dtype: (network, dtype),
        lambda network, name, dtype: (shape(network), name, dtype),
    ),
    ids=str,
)
def test_deep_equals_concatenated(network, name, dtype):
    options, bound = DEEP[name], BOUNDS[dtype]
    prompter, image, networks = config('DeepPrompter', **options), images(3).to(dtype), []
    if {'shared', 'project_dim'} & options.keys() and len(set(wrapped(network).geometry.widths)) > 1:
        with pytest.raises(ValueError, match='layers of one width'):
            vptx.attach(tiny(network), prompter)
        return
    for make in (lambda model: PromptedNetwork(wrap_backbone(model), OWN), without_memory):
        torch.manual_seed(1)
        prompted_network = (
            vptx.attach(make(tiny(network)), prompter, tune=[classifier(network), middle(network)]).to(dtype).train()
        )
        set_prompts(prompted_network.prompter)
        torch.manual_seed(2)  # the same masks where there is dropout: the network draws none
        prompted_network.net.eval()
        prompted_network.output = prompted_network(image)
        prompted_network.output.square().sum().backward()
        networks.append(prompted_network)
    memory, concatenated = networks
    assert not concatenated.prompter._by_memory
    assert relative(memory.output, concatenated.output) < bound
    # Relative to the largest gradient of all: some are zero but for rounding, such as that of a key's bias.
    scale = max(p.grad.abs().max() for p in concatenated.parameters() if p.grad is not None)
    for (name, ours), theirs in zip(memory.named_parameters(), concatenated.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None)
        if ours.grad is not None:
            assert (ours.grad - theirs.grad).abs().max() < bound * scale, name


def set_prompts(prompter: nn.Module) -> None:
    """Prompts as large as tokens are, so that a fault in what they do shows."""
    with torch.no_grad():
        for parameter in prompter.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(3))


def test_deep_prompts_use_door_3_where_nobody_reads_them():
    """The equality above would hold for two networks that both concatenate; this is what is left out."""
    lengths: dict[str, list[int]] = {}
    for readout in ('cls', 'mean', 'map', 'prompts', 'prompts+patches', OWN):
        model = vptx.attach(PromptedNetwork(wrap_backbone(tiny())), config('DeepPrompter'), readout=readout).eval()
        seen = lengths.setdefault(readout, [])
        for block in model.net.model.blocks:
            block.mlp.register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(inputs[0].shape[1]))
        model(images())
    alone, prompted = 1 + GRID**2, 1 + 3 + GRID**2
    for readout, seen in lengths.items():
        # Where the readout reads prompts, only the last layer has to carry them.
        assert seen == [alone] * (DEPTH - 1) + [prompted if readout in READS_PROMPTS else alone], readout


@every_pair
def test_fold_is_equal_or_refused(network, kind):
    model, image = attached(network, kind), images(3)
    expected, state = model(image), deepcopy(model.state_dict())
    depends = model.prompter.looks or model.prompter.depends_on_image
    tokens = [torch.randn(2, 1, width) for width in model.net.geometry.widths]
    remembers = depends or [
        m for layer, t in enumerate(tokens) if (m := model.prompter.memory(t, At(layer))) is not None
    ]
    if depends or not remembers or (isinstance(remembers[0], Tensor) and remembers[0].dim() > 2):
        with pytest.raises(ValueError, match=f'{type(model.prompter).__name__} cannot be folded: '):
            vptx.fold(model)
        assert torch.equal(model(image), expected)
        return
    model.train()
    assert vptx.fold(model) is model
    assert not model.training
    assert torch.equal(model(image), expected)
    assert torch.equal(deepcopy(model)(image), expected)
    assert list(model.state_dict()) == list(state)


@pytest.mark.parametrize('options', DEEP.values(), ids=DEEP)
def test_fold_caches_and_training_forgets(options):
    torch.manual_seed(1)
    model = vptx.attach(tiny(), config('DeepPrompter', **options)).eval()
    if len(model.prompter._by_memory) < len(model.prompter.layers):
        return  # prompts whose outputs later layers read: those are not folded
    image = images()
    expected = model(image)
    vptx.fold(model)
    name = f'key_{min(model.folded)}'
    keys = getattr(model, name)
    assert torch.equal(model(image), expected)
    assert getattr(model, name) is keys  # it is not computed again
    with torch.no_grad():
        for row in model.prompter.embedding.rows:
            row.fill_(7)
    assert not torch.equal(model(image), expected)  # and now it is
    assert getattr(model, name) is not keys
    model.train()
    assert not model.folded


def _load_prompts(model: nn.Module, other: nn.Module) -> None:
    model.prompter.load_state_dict(other.prompter.state_dict())


def _load_weights(model: nn.Module, other: nn.Module) -> None:
    with torch.no_grad():
        for parameter in other.net.model.parameters():
            parameter.mul_(1.1)
    model.net.model.load_state_dict(other.net.model.state_dict())
    model.prompter.load_state_dict(other.prompter.state_dict())


def _average(model: nn.Module, other: nn.Module) -> None:
    with torch.no_grad():
        for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
            mine.lerp_(theirs, 1.0)


def _give_storage(model: nn.Module, other: nn.Module) -> None:
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        mine.data = theirs.data.clone()


def _assign(model: nn.Module, other: nn.Module) -> None:
    model.prompter.load_state_dict(other.prompter.state_dict(), assign=True)


@pytest.mark.parametrize('change', [_load_prompts, _load_weights, _average, _give_storage, _assign])
@pytest.mark.parametrize('network', ['plain', 'swin v2'])
def test_folded_model_notices_whatever_changes_a_part_of_it(network, change):
    model, other, image = attached(network, 'DeepPrompter'), attached(network, 'DeepPrompter', seed=2), images()
    old = vptx.fold(model)(image)
    change(model, other)
    with torch.inference_mode():
        assert torch.equal(model(image), other(image))
    assert torch.equal(model(image), other(image))
    assert not torch.equal(model(image), old)


def test_folded_model_takes_prompts_that_a_call_brings():
    model, other, image = attached('plain', 'DeepPrompter'), attached('plain', 'DeepPrompter', seed=2), images()
    old, prompts = vptx.fold(model)(image), dict(other.prompter.named_parameters(prefix='prompter'))
    assert torch.equal(torch.func.functional_call(model, prompts, (image,)), other(image))
    assert torch.equal(model(image), old)


def test_average_of_a_folded_model():
    model = attached('plain', 'DeepPrompter')
    average = ModelEmaV3(model, decay=0.5)
    vptx.fold(average.module)
    learnt(model)
    average.update(model)
    found = average.module(images())
    assert torch.equal(found, vptx.fold(average.module)(images()))
    assert not torch.equal(found, attached('plain', 'DeepPrompter')(images()))


@pytest.mark.parametrize('network', ['plain', 'swin', 'swin v2', 'EVA-02', 'BEiT', 'torchvision'])
def test_folded_inside_and_outside_of_autocast(network):
    model, image = attached(network, 'DeepPrompter'), images()
    half = torch.autocast('cpu', torch.bfloat16)
    with torch.no_grad():
        single = model(image)
        with half:
            low = model(image)
            vptx.fold(model)
        assert torch.equal(model(image), single)
        with half:
            assert relative(model(image).float(), low.float()) < 0.05


def test_folded_model_notices_a_new_prompt(tmp_path):
    model, other, image = attached('plain', 'DeepPrompter'), attached('plain', 'DeepPrompter', seed=2), images()
    vptx.save_prompt(other, tmp_path / 'other.safetensors')
    vptx.fold(model)
    vptx.load_prompt(model, tmp_path / 'other.safetensors')
    assert torch.equal(model(image), other(image))
    vptx.fold(model)
    assert torch.equal(model(image), other(image))


def test_folded_model_notices_a_loaded_state():
    model, other, image = attached('plain', 'DeepPrompter'), attached('plain', 'DeepPrompter', seed=2), images()
    vptx.fold(model).load_state_dict(other.state_dict())
    assert torch.equal(model(image), other(image))


def test_folded_model_can_be_detached():
    model = vptx.fold(attached('plain', 'DeepPrompter'))
    assert torch.equal(vptx.detach(model)(images()), tiny()(images()))


def test_nothing_to_fold():
    with pytest.raises(ValueError, match='VisionTransformer has no prompter'):
        vptx.fold(tiny())


# Dropout


@pytest.mark.parametrize('per', ['sample', 'batch'])
@pytest.mark.parametrize('kind', ['DeepPrompter', 'ShallowPrompter', 'AddedPrompter'])
def test_dropout_masks_differ_between_samples_or_not(kind, per):
    model = vptx.attach(tiny(), config(kind, dropout=0.5, dropout_per=per)).train()
    image = images(1).expand(4, -1, -1, -1)
    torch.manual_seed(0)
    first, again = model(image), model(image)
    same = all(torch.allclose(first[0], other, atol=1e-5) for other in first[1:])
    assert same is (per == 'batch')
    assert not torch.allclose(first, again, atol=1e-5)  # a new mask for every batch
    model.eval()
    assert torch.equal(model(image), model(image))


@pytest.mark.parametrize(('per', 'shape'), [('sample', (5, 3, WIDTH)), ('batch', (3, WIDTH))])
def test_keys_and_values_once_for_a_batch(per, shape):
    model = vptx.attach(tiny(), config('DeepPrompter', dropout=0.5, dropout_per=per)).train()
    with Seen(nn.functional.layer_norm) as normed:
        model(images(5))
    assert sorted(normed.shapes[:2]) == sorted([shape, (5, 1 + GRID**2, WIDTH)])


def test_dropout_keeps_the_expectation():
    model = vptx.attach(tiny(), config('DeepPrompter', dropout=0.25)).train()
    torch.manual_seed(0)
    rows = model.prompter.embedding(0, 4000)
    kept = (rows != 0).float().mean().item()
    assert kept == pytest.approx(0.75, abs=0.01)
    np.testing.assert_allclose(rows.mean(0).detach(), model.prompter.embedding.rows[0].detach(), atol=0.01)


def test_net_base_class_asks_for_everything():
    """What a new family has to write; the contract above then asks it everything else."""
    net = Net()
    for call in (
        lambda: net.knows(nn.Identity()),
        lambda: net.embed(images()),
        lambda: net.patch_modules(),
        lambda: net.module_of(0),
        lambda: net.is_known(nn.Identity()),
        lambda: net.call(images(), 0, None),
        lambda: net.spelling(0),
        lambda: net.finish(images()),
        lambda: net.finish_pooled(images()),
        lambda: net.classify(images(), None),
        lambda: net.collect({}),
    ):
        with pytest.raises(NotImplementedError):
            call()
