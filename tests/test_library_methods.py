"""A prompted network answers as the library's network inside it does, with prompted features."""

import pickle
from copy import deepcopy

import pytest
import torch
from networks import BACKBONES, NETWORKS, classifier, config, images, tiny, wrapped
from timm.data import resolve_model_data_config
from timm.optim import create_optimizer_v2
from torch import nn

import vptx
from vptx.library_methods import FACTS

SHALLOW, DEEP = (dict(type=f'{kind}Prompter', num_tokens=3) for kind in ('Shallow', 'Deep'))
TIMM = [name for name in NETWORKS if hasattr(tiny(name), 'pretrained_cfg')]
TOKENS = [name for name in TIMM if 'tokens' in wrapped(name).geometry.doors]
every_timm = pytest.mark.parametrize('network', TIMM)


@pytest.mark.parametrize('network', [*NETWORKS, *BACKBONES])
def test_facts_are_the_librarys(network):
    library = tiny(network)
    model = vptx.attach(library)
    for name in FACTS:
        assert hasattr(model, name) is hasattr(library, name), name
        assert getattr(model, name, None) is getattr(library, name, None), name


def test_timm_makes_the_transform_of_the_network():
    library = tiny('clip')
    config = resolve_model_data_config(library)
    assert config['mean'] != (0.485, 0.456, 0.406)
    assert resolve_model_data_config(vptx.attach(library, DEEP)) == config


def test_what_is_not_served_says_where_it_is():
    model = vptx.attach(tiny(), DEEP)
    for name in ('head', 'blocks', 'patch_embed', 'set_input_size', 'prune_intermediate_layers'):
        with pytest.raises(AttributeError, match=rf"does not serve '{name}' of VisionTransformer: it is at net\.model"):
            getattr(model, name)
    with pytest.raises(AttributeError, match="'PromptedNetwork' object has no attribute 'nothing'"):
        _ = model.nothing
    for copy in (deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert copy.num_classes == model.num_classes


@pytest.mark.parametrize('network', ['torchvision', 'mmpretrain vit'])
def test_methods_of_timm_on_another_librarys_network(network):
    model = vptx.attach(tiny(network), DEEP)
    assert model.no_weight_decay() == set()
    for call in (
        model.get_classifier,
        lambda: model.reset_classifier(3),
        model.group_matcher,
        lambda: model.forward_features(images()),
        lambda: model.forward_head(images()),
        lambda: model.forward_intermediates(images()),
    ):
        with pytest.raises(NotImplementedError, match=r"has no .*: it is a method of timm's networks"):
            call()


def groups(model: nn.Module, names: dict[int, str], **options) -> dict[str, tuple[float, float]]:
    """Of each parameter that timm's optimizer has: its decay and the factor of its learning rate."""
    optimizer = create_optimizer_v2(model, 'adamw', lr=1.0, weight_decay=0.05, **options)
    return {
        names[id(parameter)]: (group['weight_decay'], group.get('lr_scale', 1.0))
        for group in optimizer.param_groups
        for parameter in group['params']
    }


@every_timm
@pytest.mark.parametrize('options', [{}, dict(layer_decay=0.75)], ids=str)
def test_timm_decays_the_same_parameters(network, options):
    library = tiny(network)
    names = {id(parameter): name for name, parameter in library.named_parameters()}
    expected = groups(library, names, **options)
    assert len(set(expected.values())) > 1
    assert groups(vptx.attach(library, tune=['.*']), names, **options) == expected


def test_prompts_learn_at_the_rate_of_the_head():
    model = vptx.attach(tiny(), DEEP, tune=['.*'])
    found = groups(model, {id(p): name for name, p in model.named_parameters()}, layer_decay=0.5)
    assert {found[f'prompter.embedding.rows.{i}'][1] for i in range(3)} == {found['net.model.head.weight'][1]} == {1.0}
    assert found['net.model.cls_token'][0] == 0


def test_coarse_groups_and_a_matcher_that_is_called():
    model = vptx.attach(tiny('swin'))
    assert model.group_matcher(coarse=True)['blocks'].startswith(r'^net\.model\.')
    model.net.model.group_matcher = lambda coarse: len
    assert model.group_matcher()('net.model.head') == len('head')


@every_timm
def test_features_without_prompter_are_the_librarys(network):
    library, image = tiny(network).requires_grad_(False), images()  # which some kernels go by
    features = library.forward_features(image)
    last, maps = library.forward_intermediates(image, norm=True)
    head = library.forward_head(features, pre_logits=True)
    model = vptx.attach(library).eval()
    assert torch.equal(model.forward_features(image), features)
    assert torch.equal(model.forward_head(features, pre_logits=True), head)
    found, found_maps = model.forward_intermediates(image, norm=True)
    assert torch.equal(found, last)
    assert len(found_maps) == len(maps)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found_maps, maps, strict=True))
    chosen = model.forward_intermediates(image, [-1, 0], intermediates_only=True)
    expected = library.forward_intermediates(image, [-1, 0], intermediates_only=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(chosen, expected, strict=True))


def test_prefix_tokens_and_dinos_name():
    library, image = tiny('registers'), images()
    options = dict(n=2, return_prefix_tokens=True, norm=True)
    expected = library.get_intermediate_layers(image, reshape=True, **options)
    found = vptx.attach(library).eval().get_intermediate_layers(image, reshape=True, **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize('prompter', [SHALLOW, DEEP, dict(type='SideTuning')], ids=lambda config: config['type'])
@pytest.mark.parametrize('network', TOKENS)
def test_features_are_prompted_ones(network, prompter):
    library, image = tiny(network), images()
    plain, _ = library.forward_intermediates(image)
    torch.manual_seed(0)
    model = vptx.attach(library, prompter).eval()
    features = model.forward_features(image)
    assert features.shape == plain.shape
    assert not torch.allclose(features, plain, atol=1e-4)
    torch.testing.assert_close(model.forward_head(features), model(image))
    last, maps = model.forward_intermediates(image)
    torch.testing.assert_close(last, features)
    early = model.forward_intermediates(image, [0], stop_early=True, intermediates_only=True)
    assert torch.equal(early[0], maps[0])
    readout = dict(maps=list(model.net.intermediates), norm='none')
    prompter = model.prompter
    other = vptx.attach(vptx.detach(model), prompter, readout=readout).eval()
    for ours, theirs in zip(maps, other(image), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_features_of_a_prompted_image():
    library, image = tiny('ResNet'), images()
    model = vptx.attach(library, config('BorderPrompter')).eval()
    expected = library.forward_intermediates(model.prompter.image(image), intermediates_only=True)
    found = model.forward_intermediates(image, intermediates_only=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    widened = vptx.attach(tiny('ResNet'), config('ChannelPrompter')).eval()
    assert widened.forward_features(image).shape == found[-1].shape
    with pytest.raises(NotImplementedError, match='which adds channels to its first convolution: use forward_features'):
        widened.forward_intermediates(image)


def test_layers_that_are_not_there():
    model = vptx.attach(tiny(), DEEP)
    for indices in (4, [3], [-4], []):
        with pytest.raises(ValueError, match='out of range: there are 3 layers or stages'):
            model.forward_intermediates(images(), indices)
    with pytest.raises(ValueError, match="output_fmt must be 'NCHW' or 'NLC', not 'NHWC'"):
        model.forward_intermediates(images(), output_fmt='NHWC')


@every_timm
def test_a_new_classifier(network):
    model = vptx.attach(tiny(network))
    model.reset_classifier(5)
    assert model.get_classifier() == model.net.model.get_classifier()
    assert model.num_classes == model.net.geometry.classes == 5
    assert model.train()(images()) is not None
    assert model.eval()(images()).shape == (2, 5)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any(name.startswith(f'net.model.{classifier(network)}') for name in trained)
    assert vptx.detach(model)(images()).shape == (2, 5)


def test_a_classifier_that_cannot_be_reset():
    model = vptx.attach(tiny(), DEEP)
    with pytest.raises(NotImplementedError, match="cannot change global_pool to 'avg' while a prompter is attached"):
        model.reset_classifier(5, 'avg')
    model.reset_classifier(5, 'token')
    mapped = vptx.attach(tiny(), mapping=dict(type='IndexMapping', num_classes=3))
    with pytest.raises(ValueError, match='IndexMapping reads the classes of the old classifier'):
        mapped.reset_classifier(5)
    assert mapped.num_classes == 7
    assert mapped.forward_head(mapped.forward_features(images())).shape == (2, 3)


def test_a_classifier_exchanged_in_the_library_itself():
    model = vptx.attach(tiny(), DEEP)
    model.net.model.reset_classifier(5)
    assert model.num_classes == 5
    assert model(images()).shape == (2, 5)
    mapped = vptx.attach(tiny(), mapping=dict(type='IndexMapping', num_classes=3))
    mapped.net.model.reset_classifier(5)
    with pytest.raises(ValueError, match=r'IndexMapping was bound to 7 classes of vit_.*, which now gives 5: detach'):
        mapped(images())


@pytest.mark.parametrize('kind', ['SSF', 'LoRA', 'ChannelPrompter'])
def test_replicas_of_data_parallel_that_would_call_anothers_prompter(kind):
    model = vptx.attach(tiny(), config(kind))
    with pytest.raises(
        RuntimeError, match=rf'nn\.DataParallel does not copy the hooks and kernels by which {kind} reaches'
    ):
        model._replicate_for_data_parallel()(images())
    assert nn.DataParallel(model)(images()).shape == (2, 7)  # without devices it copies nothing


def test_a_pooling_exchanged_in_the_library_itself():
    model = vptx.attach(tiny(), DEEP)
    model.net.model.reset_classifier(5, 'avg')
    with pytest.raises(
        ValueError, match=r"global_pool of vit_.* is 'avg' now and was 'token' when DeepPrompter was bound"
    ):
        model(images())
    library, prompter = model.net.model, model.prompter
    assert vptx.attach(vptx.detach(model), prompter).net.model is library
