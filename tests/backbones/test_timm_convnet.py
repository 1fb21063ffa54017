"""timm's convolutional networks, taken apart. What every net must do is in ``test_contract.py``."""

from copy import deepcopy

import pytest
import timm
import torch
from networks import CLASSES, GRID, NETWORKS, SIZE, VARIANTS, WIDTH, images, tiny
from torch import nn

import vptx
from vptx.backbones import TimmConvNet, wrap_backbone
from vptx.prompted import PromptedNetwork
from vptx.readout import OWN
from vptx.registry import NETS, PROMPTERS, build
from vptx.trainable import trained_names

CONVNETS = [name for name in (*NETWORKS, *VARIANTS) if type(wrap_backbone(tiny(name))) is TimmConvNet]
every_convnet = pytest.mark.parametrize('network', CONVNETS)
PAD = dict(type='PadPrompter', pad_size=4)
TOKENS = [
    name
    for name, kind in PROMPTERS.module_dict.items()
    if 'words' not in kind.doors and kind.doors and not kind.doors <= wrap_backbone(tiny('ResNet')).geometry.doors
]


@every_convnet
def test_facts_are_read_off_the_network(network):
    net = wrap_backbone(tiny(network))
    facts = net.geometry
    assert (facts.widths, facts.prefix, facts.tokens, facts.image) == ((), 0, GRID**2, (SIZE, SIZE))
    assert (facts.doors, net.has_class_token, net.readout) == ({'image', 'logits'}, False, 'mean')
    assert (facts.stem is None) == (network == 'BiT')


def test_by_name():
    small = dict(layers=(1, 1, 1, 1), channels=(4, 4, 4, 8), img_size=64)
    net = build(NETS, dict(type='TimmConvNet', model='resnet18', **small))
    assert (net.geometry.image, net.geometry.tokens, net.geometry.stem) == ((64, 64), 4, (64, 7, 7))
    assert net.geometry.name == 'resnet18'
    assert net.model.num_classes == 0


@pytest.mark.parametrize('kind', TOKENS)
def test_prompts_among_tokens_are_refused_when_built_naming_the_doors(kind):
    model = tiny('ResNet')
    door = 'inside' if 'inside' in PROMPTERS.get(kind).doors else 'tokens'
    with pytest.raises(ValueError, match=rf'{kind} enters by {door}, but .* has no door {door}, only image, logits'):
        vptx.attach(model, dict(type=kind))
    assert torch.equal(model(images()), tiny('ResNet')(images()))


def test_those_refused_are_most():
    assert {'DeepPrompter', 'ShallowPrompter', 'AddedPrompter', 'LoRA'} <= set(TOKENS)


def statistics(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.named_buffers() if 'running' in name or 'tracked' in name}


@pytest.mark.parametrize('network', ['ResNet', 'ResNeXt', 'ResNet-D'])
def test_frozen_batch_norms_keep_their_statistics(network):
    bare = tiny(network).train()
    model = vptx.attach(tiny(network), PAD, tune=['fc']).train()
    before, image = statistics(model), 3 + images(4)
    expected = model.eval()(image)
    model.train()(image).square().sum().backward()
    assert torch.equal(model(image), expected)  # nor do they use those of the batch
    after = statistics(model)
    assert before and all(torch.equal(before[name], after[name]) for name in before)
    bare(image)  # as they would, if they were not frozen
    assert not torch.equal(statistics(bare)['bn1.running_mean'], before['net.model.bn1.running_mean'])


def test_a_tuned_batch_norm_gathers_its_statistics_and_they_are_saved(tmp_path):
    model = vptx.attach(tiny('ResNet'), PAD, tune=['fc', 'net.model.bn1']).train()
    before = statistics(model)
    model(3 + images(4))
    changed = {name for name, value in statistics(model).items() if not torch.equal(value, before[name])}
    assert changed == {f'net.model.bn1.{name}' for name in ('running_mean', 'running_var', 'num_batches_tracked')}
    assert changed <= set(trained_names(model))
    vptx.save_prompt(model, tmp_path / 'prompt.safetensors')
    fresh = vptx.attach(tiny('ResNet'), PAD, tune=['fc', 'net.model.bn1'])
    vptx.load_prompt(fresh, tmp_path / 'prompt.safetensors')
    assert torch.equal(fresh.eval()(images()), model.eval()(images()))


@every_convnet
@pytest.mark.parametrize('readout', ['mean', 'map', 'logits'])
def test_readouts(network, readout):
    feature = vptx.attach(tiny(network), PAD, readout=readout).eval()(images())
    side = GRID + 1  # 4 px more on each side
    assert feature.shape == {'mean': (2, WIDTH), 'map': (2, WIDTH, side, side), 'logits': (2, CLASSES)}[readout]


def test_maps_of_several_layers_are_refused():
    with pytest.raises(ValueError, match=r"maps of several layers cannot be served: .* Read its one map: 'map'"):
        vptx.attach(tiny('ResNet'), PAD, readout='maps')


def test_built_without_pooling():
    with pytest.raises(ValueError, match=r"resnet18.* was built with global_pool='': leave that to readout='map'"):
        TimmConvNet('resnet18', global_pool='', layers=(1, 1, 1, 1))


@pytest.mark.parametrize('pooling', ['max', 'avgmax'])
def test_pooling_of_another_kind_is_the_networks_own(pooling):
    model = timm.create_model('resnet18', global_pool=pooling, layers=(1, 1, 1, 1), num_classes=3).eval()
    expected = model(images())
    assert wrap_backbone(model).readout == 'logits'
    assert torch.equal(vptx.attach(model).eval()(images()), expected)


DROPPING = {
    'ResNet': lambda: timm.create_model('resnet18', layers=(1, 1, 1, 1), num_classes=CLASSES, drop_rate=0.5),
    'ResNet v2': lambda: timm.create_model('resnetv2_50', layers=(1, 1, 1, 1), num_classes=CLASSES, drop_rate=0.5),
    'ConvNeXt': lambda: timm.create_model(
        'convnext_atto', depths=(1, 1, 1, 1), dims=(8, 8, 16, WIDTH), num_classes=CLASSES, drop_rate=0.5
    ),
}


@pytest.mark.parametrize('compiled', [False, True])
@pytest.mark.parametrize('network', DROPPING)
def test_dropout_of_the_head_acts_in_a_linear_probe(network, compiled):
    """timm's own, whose body is in eval mode and whose dropouts are in training mode: one draws as much."""
    torch.manual_seed(0)
    library = DROPPING[network]()
    model = vptx.attach(deepcopy(library), tune=['fc'])
    library.eval()
    library.training = True
    for module in library.modules():
        module.training |= isinstance(module, nn.Dropout)
    call = torch.compile(model, backend='eager', fullgraph=True) if compiled else model
    found = []
    for each in (library, call.train()):
        torch.manual_seed(1)
        found.append(each(images()))
    assert torch.equal(*found)
    assert not model.net.model.training
    assert not torch.equal(found[0], model.eval()(images()))


def test_not_a_convnet():
    with pytest.raises(
        ValueError, match='TimmConvNet wraps timm ResNets and ResNetV2s and ConvNeXts and ByobNets, not Linear'
    ):
        TimmConvNet(nn.Linear(2, 2))


def test_clips_resnet_pools_by_attention():
    """Its logits are CLIP's embeddings, bit for bit, at any image size; prompts enter by the image."""
    options = dict(num_classes=CLASSES, img_size=SIZE, width_factor=0.125, head_hidden_size=64)
    model = timm.create_model(
        'resnet50_clip', pretrained_cfg_overlay=dict(input_size=(3, SIZE, SIZE)), **options
    ).eval()
    net = wrap_backbone(model)
    assert net.readout == 'logits' and net.geometry.classes == CLASSES and net.geometry.doors == {'image', 'logits'}
    for image in (images(), images(size=(64, 96))):
        assert torch.equal(PromptedNetwork(net, OWN).eval()(image), model(image))
    assert PromptedNetwork(net, 'map').eval()(images()).shape[1] == model.num_features
    assert vptx.attach(model, dict(type='BorderPrompter', width=2)).eval()(images()).shape == (2, CLASSES)
