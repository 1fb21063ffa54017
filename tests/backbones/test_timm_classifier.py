"""timm's classifiers that have no file of their own. What every net must do is in ``test_contract.py``."""

import random
from copy import deepcopy

import pytest
import timm
import torch
from networks import CLASSES, GRID, NETWORKS, SIZE, VARIANTS, WIDTH, image_prompters, images, tiny, wrapped
from timm.models import get_model_input_config
from torch import nn

import vptx
from vptx.backbones import TimmClassifier, wrap_backbone
from vptx.backbones.timm_models import build_without_numbers, wrap_all
from vptx.prompted import PromptedNetwork
from vptx.registry import NETS, PROMPTERS, build
from vptx.trainable import trained_names

CLASSIFIERS = [name for name in (*NETWORKS, *VARIANTS) if type(wrapped(name)) is TimmClassifier]
CONVNETS = ['ResNet', 'ConvNeXt', 'BiT', 'ResNeXt', 'ResNet-D']
every_convnet = pytest.mark.parametrize('network', CONVNETS)
PAD = dict(type='PadPrompter', pad_size=4)
TOKENS = [name for name in image_prompters() if not PROMPTERS.get(name).doors <= wrapped('ResNet').geometry.doors]


@every_convnet
def test_facts_are_read_off_the_network(network):
    net = wrap_backbone(tiny(network))
    facts = net.geometry
    assert (facts.widths, facts.prefix, facts.tokens, facts.image) == ((), 0, GRID**2, (SIZE, SIZE))
    assert (facts.doors, net.has_class_token, net.readout) == ({'image', 'logits'}, False, 'mean')
    assert (facts.stem is None) == (network == 'BiT')


def test_by_name():
    small = dict(layers=(1, 1, 1, 1), channels=(4, 4, 4, 8), img_size=64)
    net = build(NETS, dict(type='TimmClassifier', model='resnet18', **small))
    assert (net.geometry.image, net.geometry.tokens, net.geometry.stem) == ((64, 64), 4, (64, 7, 7))
    assert net.geometry.name == 'resnet18'
    assert net.model.num_classes == 0


@pytest.mark.parametrize('kind', TOKENS)
def test_prompts_among_tokens_are_refused_when_built_naming_the_doors(kind):
    model = tiny('ResNet')
    doors = '(inside|memory|tokens)'
    says = rf'{kind} enters by .*{doors}, but .* has no door .*{doors}, only image, logits'
    with pytest.raises(ValueError, match=says):
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


@pytest.mark.parametrize('name', ['resnet18', 'test_efficientnet', 'mambaout_femto', 'convit_tiny'])
def test_built_without_pooling(name):
    with pytest.raises(ValueError, match=rf"{name}.* was built with global_pool='': leave that to readout='map'"):
        TimmClassifier(name, global_pool='')


@pytest.mark.parametrize('pooling', ['max', 'avgmax'])
def test_pooling_of_another_kind_is_the_networks_own(pooling):
    model = timm.create_model('resnet18', global_pool=pooling, layers=(1, 1, 1, 1), num_classes=3).eval()
    expected = model(images())
    assert wrap_backbone(model).readout == 'logits'
    assert torch.equal(vptx.attach(model).eval()(images()), expected)


def test_its_old_name():
    with pytest.warns(DeprecationWarning, match=r'TimmConvNet is vptx.backbones.TimmClassifier now'):
        assert vptx.backbones.TimmConvNet is TimmClassifier


def test_not_a_classifier():
    with pytest.raises(ValueError, match='TimmClassifier wraps timm classifiers without another net, not Linear'):
        TimmClassifier(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r'TimmClassifier wraps .*, not VisionTransformer'):
        TimmClassifier(tiny('plain'))
    with torch.device('meta'):
        encoder = timm.create_model('mobilenetv5_300m_enc')
    with pytest.raises(
        ValueError, match=r'MobileNetV5Encoder\. It is a network of timm that does not classify: .*logits'
    ):
        vptx.attach(encoder, PAD)


def test_a_head_that_gives_two_outputs_is_refused():
    """The library gives them in training only, and only where that was asked for."""
    model = vptx.attach(tiny('LeViT'), tune=['.*']).train()
    assert model(images()).shape == (2, CLASSES)
    model.net.model.set_distilled_training()
    with pytest.raises(
        ValueError, match=r'forward_head of levit_128s.* gives 2 outputs .*set_distilled_training\(False'
    ):
        model(images())
    assert model.eval()(images()).shape == (2, CLASSES)
    model = vptx.attach(tiny('distilled'), tune=['.*']).train()
    model.net.model.set_distilled_training()
    with pytest.raises(ValueError, match='gives 2 outputs'):
        model(images())


def test_the_maps_of_channels_last():
    model = tiny('MambaOut')
    features = model.forward_features(images())
    feature_map = PromptedNetwork(wrap_backbone(model), 'map')(images())
    assert torch.equal(feature_map, features.permute(0, 3, 1, 2))
    torch.testing.assert_close(PromptedNetwork(wrap_backbone(model), 'mean')(images()), features.mean((1, 2)))


def test_the_maps_of_tokens():
    model = tiny('ConViT')
    tokens = model.forward_features(images())
    feature_map = PromptedNetwork(wrap_backbone(model), 'map')(images())
    assert torch.equal(feature_map, tokens[:, 1:].transpose(1, 2).unflatten(2, (GRID, GRID)))
    assert torch.equal(PromptedNetwork(wrap_backbone(model), 'cls')(images()), tokens[:, 0])


@pytest.mark.parametrize('readout', ['mean', 'map'])
def test_features_that_are_no_map(readout):
    model = PromptedNetwork(wrap_backbone(tiny('CrossViT')), readout)
    with pytest.raises(ValueError, match=r"no map of cells .*: readout='logits'"):
        model(images())


@pytest.mark.parametrize('network', CLASSIFIERS)
def test_features_are_the_librarys_own(network):
    model = tiny(network)
    expected, prompted = model.forward_features(images()), vptx.attach(tiny(network))
    found, none = prompted.forward_features(images()), prompted.forward_features(images(0))
    pairs = zip(expected, found, none) if isinstance(expected, list) else [(expected, found, none)]
    assert all(torch.equal(mine, own) and nothing.shape == (0, *own.shape[1:]) for own, mine, nothing in pairs)


def test_one_size_is_that_which_it_was_built_for():
    net = TimmClassifier('convit_tiny', img_size=32, depth=1, local_up_to_layer=0)
    assert (net.geometry.image, net.geometry.any_size, net.geometry.tokens) == ((32, 32), False, 1 + 4)
    with pytest.raises(
        ValueError, match=r'an image of 48 x 32 px, but convit_tiny was built for 32 x 32 px: .*img_size'
    ):
        net.embed(images(size=(48, 32)))


def smallest_of_each_class() -> list[str]:
    """Of every class of timm that this net wraps, the model with the fewest parameters, and of the smallest image."""
    found: dict[type, tuple[int, str]] = {}
    for name, model, net in wrap_all():
        if isinstance(net, TimmClassifier):
            size = sum(p.numel() for p in model.parameters()) * net.geometry.image[0]
            found[type(model)] = min(found.get(type(model), (size, name)), (size, name))
    return [name for _, name in found.values()]


SAMPLED = random.Random(0).sample(timm.list_modules(), 20)


# One of them has recurrent layers, which take half a minute.
@pytest.mark.parametrize(
    'module', [pytest.param(name, marks=[pytest.mark.slow] if name == 'sequencer' else []) for name in SAMPLED]
)
def test_classes_of_timm(module):
    """Twenty of its modules, the first model of each: shapes are the library's, with pixels and without."""
    name = timm.list_models(module=module)[0]
    model = build_without_numbers(name)
    image = torch.empty(2, *get_model_input_config(model)['input_size'], device='meta')
    with torch.no_grad(), torch.device('meta'):
        expected = model(image).shape
        for prompter in (None, dict(type='BorderPrompter', width=2)):
            prompted = vptx.attach(model, prompter)
            assert prompted(image).shape == expected
            assert vptx.detach(prompted) is model


@pytest.mark.slow
def test_every_class_of_timm_is_the_librarys_to_the_bit():
    """In eval mode and in training, with random numbers and batch statistics; and so is the average, where it pools."""
    names, wrong = smallest_of_each_class(), []
    for name in names:
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=3).eval()
        net = wrap_backbone(model)
        step = model.feature_info[-1]['reduction']
        image = images(2, (-(-96 // step) * step,) * 2 if net.geometry.any_size else net.geometry.image)
        with torch.no_grad():
            if net.readout == 'mean':
                pooled = model.forward_head(model.forward_features(image), pre_logits=True)
                if not torch.allclose(PromptedNetwork(net).eval()(image), pooled, rtol=1e-3, atol=1e-4):
                    wrong.append(f'{name}: pooled features')
            for training in (False, True):
                state = {key: value.clone() for key, value in model.state_dict().items()}
                outputs = []
                for run in (model, vptx.attach(model, tune=['.*'])):
                    run.train(training)
                    torch.manual_seed(0)
                    outputs.append(run(image))
                    model.load_state_dict(state)
                if not torch.equal(*outputs):
                    wrong.append(f'{name}: training={training}')
                vptx.detach(run)
    assert not wrong
    assert len(names) > 80


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
