"""Merging: another weight computes the same, the saved bits come back, and what cannot be merged is refused."""

from copy import deepcopy

import pytest
import torch
from exact import exact, frozen, pictures, same
from networks import classifier, images, tiny
from torch import nn

import vptx
from vptx.prompters import DeepPrompter, Prompter

VANISH = {
    'LoRA': dict(targets=['q', 'k', 'v', 'proj', 'fc1', 'fc2'], alpha=3),
    'SSF': {},
    'RepAdapter': dict(hidden=6, groups=2, scale=0.5),
    'FacT': dict(rank=3, scale=2.0),
    'FacT by TT': dict(rank=3, tucker=False),
}


def learnt(kind: str, network: str = 'plain', **options) -> nn.Module:
    return exact(kind.partition(' ')[0], network, **{**VANISH[kind], **options})


@pytest.mark.parametrize('kind', VANISH)
def test_a_merged_model_is_the_frozen_network_with_other_weights(kind):
    model = learnt(kind)
    state, prompter = deepcopy(model.state_dict()), model.prompter
    expected = model(pictures())
    assert vptx.merge(model) is model
    assert type(model.prompter) is Prompter and not model._handles
    assert same(model(pictures()), expected)
    assert torch.equal(model.net.model(pictures()), model(pictures()))  # the library's own forward, bit for bit
    assert not same(expected, frozen()(pictures()), 1e-3)
    assert vptx.unmerge(model) is model
    assert model.prompter is prompter
    restored = model.state_dict()
    assert list(restored) == list(state)
    assert all(torch.equal(restored[name], value) for name, value in state.items())
    assert torch.equal(model(pictures()), expected)


@pytest.mark.parametrize(
    ('kind', 'network'),
    [
        ('LoRA', 'registers'),
        ('SSF', 'registers'),
        ('RepAdapter', 'registers'),
        ('FacT', 'registers'),
        ('LoRA', 'no qkv bias'),
        ('SSF', 'no qkv bias'),
        ('RepAdapter', 'no qkv bias'),
        ('SSF', 'DINOv3'),
        ('RepAdapter', 'DINOv3'),
        ('FacT', 'EVA-02'),
        ('FacT', 'swin'),
        ('SSF', 'swin'),
        ('RepAdapter', 'swin'),
        ('FacT', 'BEiT'),
        ('FacT', 'torchvision'),
        ('SSF', 'hf dinov3'),
    ],
)
def test_on_other_networks(kind, network):
    model = learnt(kind, network)
    with torch.no_grad():
        state, expected = deepcopy(model.state_dict()), model(pictures())
        vptx.merge(model)
        found = model(pictures())
        vptx.unmerge(model)
    if not isinstance(found, torch.Tensor):
        found, expected = found.last_hidden_state, expected.last_hidden_state
    assert same(found, expected)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert list(model.state_dict()) == list(state)


@pytest.mark.parametrize(
    ('kind', 'network', 'message'),
    [
        ('SSF', 'BEiT', 'norm of .* cannot be merged into: it is a Identity'),  # features are normed after pooling
        ('RepAdapter', 'BEiT', 'gives another output'),  # the map has biases that are not its own
        ('RepAdapter', 'swin v2', 'RepAdapter cannot be merged|gives another output'),  # norms after attention
        ('RepAdapter', 'torchvision', 'of what norm1 of layer 0 gives, no reader is known'),
    ],
)
def test_where_weights_mean_something_else_it_is_refused(kind, network, message):
    model = learnt(kind, network)
    state, expected = deepcopy(model.state_dict()), model(pictures())
    with pytest.raises(ValueError, match=message):
        vptx.merge(model)
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(model(pictures()), expected)


def test_the_scales_of_adapter_plus():
    model = exact('AdapterPlus')
    prompter = model.prompter
    expected, scale = model(pictures()), prompter.scales[0].detach().clone()
    vptx.merge(model)
    assert model.prompter is not prompter
    assert same(model.prompter.bottlenecks[0].up.weight, scale[:, None] * prompter.bottlenecks[0].up.weight)
    assert (model.prompter.scales[0] == 1).all()
    assert same(model(pictures()), expected)
    vptx.unmerge(model)
    assert model.prompter is prompter and torch.equal(model(pictures()), expected)


def test_adapter_plus_at_no_scale_is_the_network():
    model = exact('AdapterPlus')
    with torch.no_grad():
        for scale in model.prompter.scales:
            scale.zero_()
    assert same(model(pictures()), frozen()(pictures()))


def test_of_several_prompters_those_that_can_be():
    model = exact([dict(type='LoRA'), dict(type='DeepPrompter', num_tokens=3), dict(type='SSF')])
    expected = model(pictures())
    vptx.merge(model)
    (left,) = model.prompter.prompters
    assert type(left) is DeepPrompter
    assert same(model(pictures()), expected)
    vptx.fold(model)
    assert same(model(pictures()), expected)
    vptx.unmerge(model)
    assert torch.equal(model(pictures()), expected)


def test_next_to_prompts_that_are_read():
    prompters = [dict(type='LoRA'), dict(type='ShallowPrompter', num_tokens=3)]
    model = exact(prompters)
    prompter = model.prompter
    model = vptx.attach(vptx.detach(model), prompter, readout='prompts').eval()
    expected = model(pictures())
    vptx.merge(model)
    assert same(model(pictures()), expected)
    vptx.unmerge(model)
    assert torch.equal(model(pictures()), expected)


def test_single_precision_and_half():
    for dtype, bound in ((torch.float32, 1e-5), (torch.bfloat16, 0.1)):
        model = learnt('LoRA').to(dtype)
        expected = model(images().to(dtype))
        vptx.merge(model)
        assert same(model(images().to(dtype)).float(), expected.float(), bound)


def test_training_and_detaching_give_the_weights_back():
    model = learnt('LoRA')
    weight = model.net.model.blocks[0].attn.qkv.weight.detach().clone()
    vptx.merge(model).train()
    assert torch.equal(model.net.model.blocks[0].attn.qkv.weight, weight) and model.prompter.sites
    library = vptx.detach(vptx.merge(model))
    assert torch.equal(library(pictures()), frozen()(pictures()))


def test_a_copy_of_a_merged_model_is_apart():
    model = vptx.merge(learnt('LoRA'))
    copy, expected = deepcopy(model), model(pictures())
    vptx.unmerge(copy)
    assert torch.equal(model(pictures()), expected)
    assert same(copy(pictures()), expected)
    assert copy.net.model.blocks[0].attn.qkv.weight is not model.net.model.blocks[0].attn.qkv.weight


def test_a_loaded_state_and_files(tmp_path):
    model, other = learnt('LoRA'), exact('LoRA', seed=3, **VANISH['LoRA'])
    vptx.save_prompt(other, tmp_path / 'other.safetensors')
    vptx.merge(model).load_state_dict(other.state_dict())
    assert torch.equal(model(pictures()), other(pictures()))
    vptx.merge(model)
    with pytest.raises(ValueError, match=r'merged into the frozen weights.*vptx\.unmerge\(model\) first'):
        vptx.save_prompt(model, tmp_path / 'merged.safetensors')
    with pytest.raises(ValueError, match=r'merged into the frozen weights.*vptx\.unmerge\(model\) first'):
        vptx.load_prompt(model, tmp_path / 'other.safetensors')
    assert not (tmp_path / 'merged.safetensors').exists()


def hooked(model: nn.Module) -> None:
    model.net.model.blocks[1].attn.qkv.register_forward_hook(lambda *arguments: None)


def parametrised(model: nn.Module) -> None:
    nn.utils.parametrizations.orthogonal(model.net.model.blocks[1].attn.qkv)


def quantised(model: nn.Module) -> None:
    pass  # before it is attached


@pytest.mark.parametrize('change', [hooked, parametrised, quantised])
@pytest.mark.parametrize('kind', ['LoRA', 'RepAdapter'])
def test_what_is_hooked_or_quantised(kind, change):
    torch.manual_seed(0)
    model = vptx.attach(tiny(), dict(type=kind)).eval()
    before = model.net.model.blocks[0].attn.qkv.weight
    if change is quantised:
        vptx.detach(model)
        network = tiny()
        torch.ao.quantization.quantize_dynamic(network.blocks, {nn.Linear}, inplace=True)
        model = vptx.attach(network, dict(type=kind)).eval()
    else:
        change(model)
    expected = model(images())
    with pytest.raises(
        ValueError, match=r'qkv of layer [01] of .* cannot be merged into: it is a .*Linear with a hook'
    ):
        vptx.merge(model)
    assert model.prompter.sites and torch.equal(model(images()), expected)
    assert change is quantised or torch.equal(model.net.model.blocks[0].attn.qkv.weight, before)


@pytest.mark.parametrize('kind', ['DeepPrompter', 'AdaptFormer', 'PixelPrompter'])
def test_what_is_no_weight(kind):
    model = exact(kind)
    with pytest.raises(ValueError, match=f'{kind} cannot be merged: what it does is no change of weights'):
        vptx.merge(model)
    with pytest.raises(ValueError, match='PromptedNetwork is not merged'):
        vptx.unmerge(model)
    with pytest.raises(ValueError, match='is no prompted model'):
        vptx.merge(frozen())


def test_a_head_that_trains_and_class_names_stay():
    model = learnt('LoRA')
    model = vptx.attach(vptx.detach(model), dict(type='LoRA'), tune=[classifier('plain')]).eval()
    trains = [parameter.requires_grad for parameter in model.net.model.head.parameters()]
    vptx.unmerge(vptx.merge(model))
    assert [parameter.requires_grad for parameter in model.net.model.head.parameters()] == trains == [True, True]
    assert all(parameter.requires_grad for parameter in model.prompter.parameters())
