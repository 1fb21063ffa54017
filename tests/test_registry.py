import re

import pytest
from mmengine.registry import HOOKS as ROOT_HOOKS

from vptx.prompters import DeepPrompter, Prompter, ShallowPrompter
from vptx.registry import NETS, PROMPTERS, build


def test_an_object_is_returned_as_it_is():
    prompter = Prompter()
    assert build(PROMPTERS, prompter) is prompter


@pytest.mark.parametrize('kind', ['DeepPrompter', 'vptx.DeepPrompter', DeepPrompter])
def test_a_name_a_scoped_name_or_a_class(kind):
    built = build(PROMPTERS, dict(type=kind, num_tokens=5))
    assert type(built) is DeepPrompter
    assert built.num_tokens == 5


def test_the_config_is_left_alone():
    config = dict(type='DeepPrompter', num_tokens=5)
    build(PROMPTERS, config)
    assert config == dict(type='DeepPrompter', num_tokens=5)


def test_unknown_prompter_offers_the_nearest():
    with pytest.raises(ValueError, match=r"unknown prompter 'DeepPrompt'; did you mean DeepPrompter\?") as error:
        build(PROMPTERS, dict(type='DeepPrompt'))
    assert 'custom_imports' in str(error.value)
    assert all(name in str(error.value) for name in PROMPTERS.module_dict)


def test_unknown_net_lists_what_there_is():
    with pytest.raises(ValueError, match=re.escape("unknown net 'Quux'. Registered: ")) as error:
        build(NETS, dict(type='Quux'))
    assert 'TimmViT' in str(error.value)


def test_no_type():
    with pytest.raises(ValueError, match=r'a prompter is described by dict\(type=..., ...\), this has no type: .*P'):
        build(PROMPTERS, dict(P=5))


@pytest.mark.parametrize(
    'name, nearest',
    [('DeepPrompt', 'DeepPrompter'), ('LoRAPrompter', 'LoRA'), ('lora', 'LoRA'), ('ReinPrompter', 'Rein')]
    + [('VPTDeep', 'DeepPrompter'), ('DualPrompter', 'DualPrompt'), ('prefix', 'PrefixPrompter')],
)
def test_the_nearest_name_does_not_hang_on_case_or_ending(name, nearest):
    with pytest.raises(ValueError, match=rf"unknown prompter '{name}'; did you mean {nearest}\?"):
        build(PROMPTERS, dict(type=name))


def test_an_argument_that_the_class_does_not_take():
    with pytest.raises(TypeError, match=r"^PrependedPixelPrompter takes no argument 'tokens'; did you mean num_tokens"):
        build(PROMPTERS, dict(type='PrependedPixelPrompter', tokens=5))


@pytest.mark.parametrize(
    'kind', sorted(n for n, kind in PROMPTERS.module_dict.items() if kind.__module__[:5] == 'vptx.')
)
def test_every_prompter_refuses_an_argument_that_it_does_not_take(kind):
    with pytest.raises(TypeError, match=rf"^{kind} takes no argument 'quux'\. It takes "):
        build(PROMPTERS, dict(type=kind, quux=5))


@pytest.mark.parametrize('make', [DeepPrompter, ShallowPrompter])
def test_arguments_of_the_embedding_are_checked_before_there_is_a_network(make):
    make(dropout=0.1, project_dim=8)
    with pytest.raises(TypeError, match=r"Prompter takes no argument 'drop'; did you mean dropout\? .*num_tokens, "):
        make(drop=0.1)


def test_an_error_inside_of_a_constructor_stays():
    class Broken(Prompter):
        def __init__(self, size=1):
            dict(size=size).update(3)

    with pytest.raises(TypeError, match=r"^Broken: 'int' object is not iterable"):
        build(PROMPTERS, dict(type=Broken, size=2))


def test_hooks_are_found_whatever_the_default_scope():
    assert ROOT_HOOKS.get('PromptTuningHook') is not None


@pytest.mark.parametrize('given', ['DeepPrompter', DeepPrompter])
def test_a_name_or_a_class_alone(given):
    message = r"a prompter is described by dict\(type=..., ...\), not by .*: write dict\(type='DeepPrompter'\)"
    with pytest.raises(TypeError, match=message):
        build(PROMPTERS, given)


def test_what_is_no_config_at_all():
    with pytest.raises(TypeError, match=r'a net is described by dict\(type=..., ...\), not by 5$'):
        build(NETS, 5)


def test_a_type_by_its_old_name_warns():
    with pytest.warns(DeprecationWarning, match='TimmClassifier'):
        assert type(build(NETS, dict(type='TimmConvNet', model='resnet18', num_classes=2))).__name__ == 'TimmClassifier'
