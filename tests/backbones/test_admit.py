"""Prompts of the first layer go through the norm that a network has before its layers, or nothing is done to them."""

import pytest
import torch
from networks import BACKBONES, HUGGING_FACE, NETWORKS, VARIANTS, images, tiny
from torch import nn

import vptx
from vptx.backbones import wrap_backbone

#: What the libraries call it.
NORMS = ('norm_pre', 'pre_norm', 'pre_ln', 'pre_layrnorm')
NETS = {name: wrap_backbone(tiny(name)) for name in (*NETWORKS, *VARIANTS, *BACKBONES, *HUGGING_FACE)}
NETS = {name: net for name, net in NETS.items() if 'tokens' in net.geometry.doors}
FOUND = {
    name: norm
    for name, net in NETS.items()
    for part in net.model.modules()
    for norm in (getattr(part, name, None) for name in NORMS)
    if isinstance(norm, nn.Module) and not isinstance(norm, nn.Identity)
}


def rows(name: str) -> torch.Tensor:
    return torch.randn(3, NETS[name].geometry.widths[0])


def test_there_are_such_networks_of_each_library():
    libraries = {type(NETS[name].model).__module__.partition('.')[0] for name in FOUND}
    assert {'timm', 'mmpretrain', 'mmseg', 'transformers'} <= libraries


@pytest.mark.parametrize('name', FOUND)
def test_prompts_go_through_the_norm_before_the_layers(name):
    prompts = rows(name)
    assert torch.equal(NETS[name].admit(prompts), FOUND[name](prompts))
    assert not torch.allclose(FOUND[name](prompts), prompts)


@pytest.mark.parametrize('name', FOUND)
def test_embedded_prompts_are_others_than_raw_ones(name):
    outputs = []
    for embedded in (False, True):
        torch.manual_seed(0)
        model = vptx.attach(tiny(name), dict(type='ShallowPrompter', num_tokens=3, embedded=embedded, init='normal'))
        output = model.eval()(images())
        output = getattr(output, 'last_hidden_state', output)
        while not isinstance(output, torch.Tensor):  # of several layers, or of patches and class token
            output = output[-1]
        outputs.append(output)
    assert not torch.allclose(*outputs, atol=1e-4)


@pytest.mark.parametrize('name', [name for name in NETS if name not in FOUND])
def test_elsewhere_they_stay_as_they_are(name):
    prompts = rows(name)
    assert torch.equal(NETS[name].admit(prompts), prompts)
