"""Prompts of the first layer go through what a network does to embedded patches in front of it, wherever there is such
a norm, or nothing is done to them."""

import pytest
import torch
from networks import BACKBONES, NETWORKS, VARIANTS, WIDTH, images, tiny
from torch import nn

import vptx
from vptx.backbones import wrap_backbone

#: What the libraries call it.
NORMS = ('norm_pre', 'pre_norm', 'pre_ln')
FOUND = {
    name: norm
    for name in (*NETWORKS, *VARIANTS, *BACKBONES)
    for part, norm in tiny(name).named_children()
    if part in NORMS and not isinstance(norm, nn.Identity)
}


def test_there_are_such_networks_of_each_library():
    assert {'clip', 'Perception Encoder', 'mmpretrain vit, maps'} <= FOUND.keys()


@pytest.mark.parametrize('name', FOUND)
def test_prompts_go_through_the_norm_in_front(name):
    net, prompts = wrap_backbone(tiny(name)), torch.randn(3, net_width(name))
    assert torch.equal(net.admit(prompts), FOUND[name](prompts))
    assert not torch.allclose(net.admit(prompts), prompts)


def net_width(name: str) -> int:
    return wrap_backbone(tiny(name)).geometry.widths[0]


@pytest.mark.parametrize('name', FOUND)
def test_embedded_prompts_are_others_than_raw_ones(name):
    outputs = []
    for embedded in (False, True):
        torch.manual_seed(0)
        model = vptx.attach(tiny(name), dict(type='ShallowPrompter', num_tokens=3, embedded=embedded, init='normal'))
        output = model.eval()(images())
        outputs.append(output if isinstance(output, torch.Tensor) else output[-1])
    assert not torch.allclose(*outputs, atol=1e-4)


@pytest.mark.parametrize(
    'name', [name for name in NETWORKS if name not in FOUND and name not in ('ResNet', 'ConvNeXt')]
)
def test_elsewhere_they_stay_as_they_are(name):
    prompts = torch.randn(3, WIDTH)
    assert torch.equal(wrap_backbone(tiny(name)).admit(prompts), prompts)
