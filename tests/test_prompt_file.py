import json
import re
from copy import deepcopy

import pytest
import timm
import torch
from mmengine.logging import MMLogger
from networks import images, tiny
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import vptx
from vptx.fingerprint import fingerprint, fingerprints
from vptx.kept import kept_names, place_of
from vptx.prompt_file import check, describe, read_prompt, save_prompt, write_prompt

DEEP = dict(type='DeepPrompter', num_tokens=3)
NAMES = list('tuvwxyz')  # of the seven classes of the tiny networks


def prompted(network: str = 'plain', prompter: dict = DEEP, tune=('head',)):
    return vptx.attach(tiny(network), prompter, tune=tune)


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(1)
    model = prompted()
    save_prompt(model, tmp_path / 'prompt.safetensors', config='a = 1', classes=NAMES)
    return tmp_path / 'prompt.safetensors'


def refused(model, path, message: str) -> str:
    """Loading is refused with the message, and has changed nothing."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message) as error:
        vptx.load_prompt(model, path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return str(error.value)


def test_holds_what_trains_and_the_facts(saved):
    tensors, facts = read_prompt(saved)
    rows = [f'prompter.embedding.rows.{i}' for i in range(3)]
    assert set(tensors) == {*rows, 'net.model.head.weight', 'net.model.head.bias'}
    print_free = {name: facts[name] for name in ('format', 'prompter', 'prompts', 'classes', 'config')}
    assert print_free == dict(format=2, prompter='DeepPrompter', prompts=rows, classes=NAMES, config='a = 1')
    assert facts['network'].startswith('vit_base_patch16_224')
    assert facts['fingerprint'].keys() == {'backbone', 'positions'}
    for hashes in facts['fingerprint'].values():
        assert hashes.keys() == {'float32', 'bfloat16', 'float16'}
        assert all(re.fullmatch('[0-9a-f]{16}', found) for found in hashes.values())
    assert facts['image'] == [32, 32]
    settings = dict(num_tokens=3, layers=[0, 1, 2], shared=False, carry=True, embedded=False)
    assert facts['prompter_settings'] == settings


def test_is_as_small_as_what_it_holds(saved):
    assert saved.stat().st_size < 4 * (3 * 3 * 32 + 7 * 33) + 1500


def test_any_reader_of_safetensors_reads_it(saved):
    with safe_open(saved, 'pt') as file:
        assert json.loads(file.metadata()['vptx'])['classes'] == NAMES


def test_a_trained_copy_comes_back(saved, tmp_path):
    torch.manual_seed(2)
    model, image = prompted().eval(), images()
    before = model(image)
    facts = vptx.load_prompt(model, saved)
    assert not torch.equal(model(image), before)
    assert facts['config'] == 'a = 1'


def test_saving_leaves_no_other_file(saved):
    assert [path.name for path in saved.parent.iterdir()] == ['prompt.safetensors']


def test_wrong_ending(tmp_path):
    with pytest.raises(ValueError, match=r'a prompt file ends in \.safetensors, not prompt\.bin'):
        save_prompt(prompted(), tmp_path / 'prompt.bin')


def test_saving_a_model_without_prompter(tmp_path):
    with pytest.raises(ValueError, match=r'VisionTransformer is no prompted model: call vptx\.attach first'):
        save_prompt(tiny(), tmp_path / 'prompt.safetensors')


def test_loading_into_a_model_without_prompter(saved):
    with pytest.raises(ValueError, match=r'VisionTransformer is no prompted model: call vptx\.attach first'):
        vptx.load_prompt(tiny(), saved)


@pytest.mark.parametrize('name', ['none.safetensors', 'none.pth'])
def test_missing(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / name))):
        vptx.load_prompt(prompted(), tmp_path / name)


def test_of_another_network(saved):
    refused(prompted('distilled'), saved, r'prompt\.safetensors belongs to the network vit_base.*, this model has deit')


def test_of_another_prompter(saved):
    model = prompted(prompter=dict(type='ShallowPrompter', num_tokens=3))
    refused(model, saved, 'belongs to the prompter DeepPrompter, this model has ShallowPrompter')


def test_of_another_number_of_tokens(saved):
    message = refused(prompted(prompter=dict(DEEP, num_tokens=5)), saved, 'does not fit this model')
    assert 'has prompter.embedding.rows.0 of shape (3, 32) instead of (5, 32)' in message


def test_of_another_width(tmp_path):
    sizes = dict(img_size=32, patch_size=8, depth=2, num_classes=7)
    wide, narrow = (timm.create_model('vit_base_patch16_224', embed_dim=w, num_heads=2, **sizes) for w in (64, 32))
    save_prompt(vptx.attach(wide, DEEP), tmp_path / 'wide.safetensors')
    model = vptx.attach(narrow, DEEP)
    message = refused(model, tmp_path / 'wide.safetensors', r'wide\.safetensors does not fit this model')
    assert 'shape (3, 64) instead of (3, 32)' in message


def test_of_other_layers(saved):
    message = refused(prompted(prompter=dict(DEEP, layers=[0, 1])), saved, 'does not fit')
    assert 'has prompter.embedding.rows.2, which does not train here' in message
    everything = prompted(prompter=dict(DEEP, project_dim=32))
    assert 'lacks prompter.embedding.project.weight' in refused(everything, saved, 'does not fit')


def test_of_other_tuned_parts(saved):
    assert 'has net.model.head.weight, which does not train here' in refused(prompted(tune=()), saved, 'does not fit')
    more = prompted(tune=['head', 'norm'])
    message = refused(more, saved, 'does not fit')
    assert 'lacks net.model.norm.weight' in message


def test_a_long_list_of_faults_is_cut(saved):
    assert re.search(r'; and \d+ more$', refused(prompted(tune=['.*']), saved, 'does not fit'))


def test_of_other_frozen_weights(saved):
    model = prompted()
    with torch.no_grad():
        model.net.model.blocks[0].mlp.fc1.weight[0, 0] += 1e-6
    message = refused(model, saved, 'was trained on other frozen weights of vit_base')
    assert fingerprints(model)['backbone']['float32'] in message


@pytest.mark.parametrize('part', [0, 4, 0.3, 0.9])
def test_truncated(saved, part):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(part * len(whole)) if part < 1 else part])
    refused(prompted(), saved, r'prompt\.safetensors cannot be read: truncated, or not a safetensors file')


def test_not_ours(tmp_path):
    save_file(dict(a=torch.ones(1)), tmp_path / 'theirs.safetensors')
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'theirs.pth')
    torch.save([1, 2], tmp_path / 'list.pth')
    for name in ('theirs.safetensors', 'theirs.pth', 'list.pth'):
        refused(prompted(), tmp_path / name, rf'{name} is no prompt file of vptx \(formats 1 to 2\)')


@pytest.mark.parametrize(
    'text', ['{', 'null', '[]', '3', '{}', '{"format": 99}', '{"format": 1}', '{"format": true}', '[' * 100_000]
)
def test_facts_that_are_none(tmp_path, text):
    save_file(dict(a=torch.ones(1)), tmp_path / 'odd.safetensors', {'vptx': text})
    refused(
        prompted(),
        tmp_path / 'odd.safetensors',
        r'^\S+odd\.safetensors (is no prompt file|cannot be read|is a prompt file of format 99)',
    )


@pytest.mark.parametrize('state', [None, [1], {'a': 3}, {3: torch.ones(1)}])
def test_a_checkpoint_whose_state_holds_no_tensors(saved, tmp_path, state):
    torch.save(dict(state_dict=state, meta=dict(vptx=read_prompt(saved)[1])), tmp_path / 'odd.pth')
    refused(prompted(), tmp_path / 'odd.pth', r'^\S+odd\.pth (is no prompt file|holds)')


def test_of_a_newer_format(saved, tmp_path):
    tensors, facts = read_prompt(saved)
    write_prompt(tmp_path / 'new.safetensors', tensors, dict(facts, format=3))
    refused(
        prompted(),
        tmp_path / 'new.safetensors',
        r'new\.safetensors is a prompt file of format 3, written by a later version of vptx; .*up to 2: update vptx',
    )


@pytest.mark.parametrize(
    ('fact', 'value'),
    [
        *((name, 3) for name in ('network', 'fingerprint', 'prompter', 'prompts', 'classes', 'config', 'frozen_from')),
        *((name, 3) for name in ('readout', 'mapping')),
        ('classes', 'tuvwxyz'),
        ('classes', [1, 2, 3, 4, 5, 6, 7]),
        ('classes', [['t'], ['u']]),
        ('prompts', [None]),
    ],
)
def test_facts_of_another_type(saved, tmp_path, fact, value):
    tensors, facts = read_prompt(saved)
    write_prompt(tmp_path / 'odd.safetensors', tensors, {**facts, fact: value})
    refused(prompted(), tmp_path / 'odd.safetensors', rf'^\S+odd\.safetensors is no prompt file of vptx: {fact} is ')


@pytest.mark.parametrize('number', [1, 6, 8])
def test_as_many_names_as_classes(saved, tmp_path, number):
    tensors, facts = read_prompt(saved)
    write_prompt(tmp_path / 'odd.safetensors', tensors, dict(facts, classes=['a'] * number))
    refused(
        prompted(), tmp_path / 'odd.safetensors', f'has names of {number} classes, the classifier of the model has 7'
    )
    with pytest.raises(ValueError, match=f'names of {number} classes'):
        save_prompt(prompted(), tmp_path / 'new.safetensors', classes=['a'] * number)


@pytest.mark.parametrize(
    'value',
    [
        torch.full((3, 32), torch.nan),
        torch.ones(3, 32, dtype=torch.int32),
        torch.full((3, 32), 1e300, dtype=torch.float64),
    ],
)
def test_values_that_are_no_prompts(saved, tmp_path, value):
    tensors, facts = read_prompt(saved)
    write_prompt(tmp_path / 'odd.safetensors', {**tensors, 'prompter.embedding.rows.1': value}, facts)
    refused(prompted(), tmp_path / 'odd.safetensors', r'^\S+odd\.safetensors holds .*prompter\.embedding\.rows\.1')


def test_fingerprint_sees_frozen_values_names_and_shapes_and_nothing_else():
    model = prompted()
    first = fingerprint(model)
    with torch.no_grad():
        model.prompter.embedding.rows[0].add_(1)
        model.net.model.head.weight.add_(1)
    assert fingerprint(model) == first
    for change in (
        lambda m: m.net.model.cls_token.data.add_(1),
        lambda m: m.net.model.blocks[2].norm1.bias.data[0].add_(1e-3),
        lambda m: setattr(m.net.model, 'pos_embed', torch.nn.Parameter(m.net.model.pos_embed.data.half(), False)),
        lambda m: m.net.model.register_buffer('more', torch.ones(1)),
    ):
        other = prompted()
        change(other)
        assert fingerprint(other) != first


def test_fingerprint_of_two_networks_drawn_alike():
    assert fingerprint(prompted()) == fingerprint(prompted(prompter=dict(type='AddedPrompter')))


# Files of format 1.


def save_as_format_1(model, path):
    """As vptx 0.1 did: names of the model that was saved, one fingerprint, no settings of the prompter."""
    facts, state = describe(model, 'a = 1', NAMES), model.state_dict()
    place = place_of(model)
    facts = {name: value for name, value in facts.items() if name not in ('image', 'prompter_settings')}
    facts |= dict(format=1, fingerprint=fingerprint(model), prompts=[place + name for name in facts['prompts']])
    write_prompt(path, {name: state[name] for name in kept_names(model)}, facts)


@pytest.mark.parametrize('around', [lambda m: m, nn.DataParallel, lambda m: torch.compile(m, backend='eager')])
def test_files_of_format_1_still_load(around, tmp_path):
    torch.manual_seed(1)
    model = prompted()
    save_as_format_1(around(model), tmp_path / 'old.safetensors')
    torch.manual_seed(2)
    other, image = prompted(), images()
    facts = vptx.load_prompt(other, tmp_path / 'old.safetensors')
    assert torch.equal(other.eval()(image), model.eval()(image))
    assert facts['format'] == 1 and facts['classes'] == NAMES
    changed = prompted()
    with torch.no_grad():
        changed.net.model.blocks[0].mlp.fc1.weight[0, 0] += 1e-6
    refused(changed, tmp_path / 'old.safetensors', 'was trained on other frozen weights of vit_base')


def test_what_format_1_does_not_tell_is_warned_of(tmp_path, caplog):
    border = dict(type='BorderPrompter', width=4)
    for name, prompter in dict(border=border, deep=DEEP).items():
        save_as_format_1(prompted(prompter=prompter), tmp_path / f'{name}.safetensors')
    MMLogger.get_current_instance().addHandler(caplog.handler)
    vptx.load_prompt(prompted(), tmp_path / 'deep.safetensors')
    assert not caplog.text
    vptx.load_prompt(prompted(prompter=dict(border, space='unit')), tmp_path / 'border.safetensors')
    assert 'border.safetensors is of format 1 and does not say with what settings' in caplog.text
    assert "space='unit', bound='none', compose='add'" in caplog.text


# Settings of the prompter.


@pytest.mark.parametrize(
    ('theirs', 'ours', 'message'),
    [
        (dict(type='BorderPrompter', width=4), dict(space='unit'), "space='normalised' of BorderPrompter.*'unit'"),
        (dict(type='BorderPrompter', width=4), dict(bound='tanh'), "bound='none' of .* has bound='tanh'"),
        (dict(type='BorderPrompter', width=4), dict(compose='replace'), "compose='add' of .* has compose='replace'"),
        (dict(DEEP, layers=[0, 1]), dict(layers=[1, 2]), r'layers=\[0, 1\] of .* has layers=\[1, 2\]'),
        (dict(type='LoRA', rank=2), dict(alpha=8), r'alpha=2\.0 of LoRA'),
        ([dict(type='BorderPrompter', width=4), DEEP], [dict(space='unit'), {}], r"0\.space='normalised'"),
    ],
)
def test_other_settings_by_which_the_numbers_mean_something_else(theirs, ours, message, tmp_path):
    save_prompt(prompted(prompter=theirs), tmp_path / 'p.safetensors')
    ours = [{**a, **b} for a, b in zip(theirs, ours, strict=True)] if isinstance(ours, list) else {**theirs, **ours}
    refused(prompted(prompter=ours), tmp_path / 'p.safetensors', rf'^\S+ was trained with {message}')


@pytest.mark.parametrize(
    ('theirs', 'ours'),
    [
        (DEEP, dict(dropout=0.3, init='normal')),
        (DEEP, dict(layers=[0, 1, -1], carry=True)),
        (dict(type='BorderPrompter', width=4), dict(init='zero', space='normalised')),
        (dict(type='LoRA', rank=2), dict(alpha=2, dropout=0.1, targets=('q', 'v'))),
    ],
)
def test_settings_that_do_not_matter_once_it_is_trained(theirs, ours, tmp_path):
    save_prompt(prompted(prompter=theirs), tmp_path / 'p.safetensors')
    vptx.load_prompt(prompted(prompter={**theirs, **ours}), tmp_path / 'p.safetensors')


def test_settings_of_a_prompter_of_ones_own():
    class Mine(vptx.prompters.BorderPrompter):
        def __init__(self, strength, *, kind=None, **others) -> None:
            super().__init__(**{'width': 4, **others})

    made = vptx.attach(tiny(), Mine(0.5, kind=object(), bound='tanh')).prompter
    expected = dict(strength=0.5, bound='tanh', width=30, compose='add', space='normalised')
    assert {name: made.settings[name] for name in expected} == expected and 'kind' not in made.settings
    assert deepcopy(made).settings == made.settings


# Prompts without their head.


# Readout and mapping.


def of_readout(readout):
    return vptx.attach(tiny(), DEEP, readout=readout)


@pytest.mark.parametrize(
    ('theirs', 'ours', 'message'),
    [
        ('cls', 'mean', "readout='cls', this model has readout='mean'"),
        ('logits', 'mean', "readout='cls', this model has readout='mean'"),
        ('mean', dict(maps=[1, -1]), r"'mean', this model has readout=dict\(maps=\[1, 2\], norm='none'\)"),
    ],
)
def test_another_readout(theirs, ours, message, tmp_path):
    save_prompt(of_readout(theirs), tmp_path / 'p.safetensors')
    error = refused(of_readout(ours), tmp_path / 'p.safetensors', rf'^\S+ was trained with .*{message}')
    assert 'vptx.load_prompt(..., head=False)' in error
    vptx.load_prompt(of_readout(ours), tmp_path / 'p.safetensors', head=False)


@pytest.mark.parametrize(('theirs', 'ours'), [('cls', 'logits'), ('maps', dict(maps=[2]))])
def test_one_readout_by_two_names(theirs, ours, tmp_path):
    save_prompt(of_readout(theirs), tmp_path / 'p.safetensors')
    vptx.load_prompt(of_readout(ours), tmp_path / 'p.safetensors')


def test_another_kind_of_mapping(tmp_path):
    def mapped(kind):
        return vptx.attach(tiny(), DEEP, mapping=dict(type=kind, num_classes=3))

    save_prompt(mapped('RandomMapping'), tmp_path / 'p.safetensors')
    message = 'trained with mapping=RandomMapping, this model has mapping=IndexMapping'
    refused(mapped('IndexMapping'), tmp_path / 'p.safetensors', message)
    vptx.load_prompt(mapped('IndexMapping'), tmp_path / 'p.safetensors', head=False)


def test_a_file_that_does_not_say_its_readout_loads(tmp_path):
    tensors = {name: p for name, p in of_readout('cls').named_parameters() if p.requires_grad}
    facts = describe(of_readout('cls'))
    del facts['readout'], facts['mapping']
    write_prompt(tmp_path / 'p.safetensors', tensors, facts)
    vptx.load_prompt(of_readout('mean'), tmp_path / 'p.safetensors')


def with_classes(number: int, **options):
    model = tiny()
    model.reset_classifier(number)
    return vptx.attach(model, DEEP, **{'tune': ['head', 'norm'], **options})


def test_prompts_go_to_another_number_of_classes_without_their_head(saved, tmp_path):
    theirs, ours = with_classes(7), with_classes(5)
    for parameter in theirs.parameters():
        parameter.data.fill_(3) if parameter.requires_grad else None
    save_prompt(theirs, tmp_path / 'p.safetensors', classes=NAMES)
    message = refused(ours, tmp_path / 'p.safetensors', r'head\.weight of shape \(7, 32\) instead of \(5, 32\)')
    assert 'Only the head differs: to load the rest, vptx.load_prompt(..., head=False)' in message
    head = ours.net.model.head.weight.clone()
    facts = vptx.load_prompt(ours, tmp_path / 'p.safetensors', head=False)
    assert facts['classes'] == NAMES and ours.classes is None
    assert torch.equal(ours.net.model.head.weight, head)
    assert (ours.prompter.embedding.rows[0] == 3).all() and (ours.net.model.norm.bias == 3).all()


def test_without_the_head_all_else_is_checked(saved):
    model = with_classes(5, tune=['head'])
    vptx.load_prompt(model, saved, head=False)
    assert 'Only the head' not in refused(with_classes(5), saved, r'lacks net\.model\.norm\.weight')
    with pytest.raises(ValueError, match=r'^\S+ does not fit .* lacks net\.model\.norm\.weight; lacks \S+$'):
        vptx.load_prompt(with_classes(5), saved, head=False)
    with torch.no_grad():
        model.net.model.cls_token.add_(1)
    with pytest.raises(ValueError, match='other frozen weights'):
        vptx.load_prompt(model, saved, head=False)


def test_prompts_under_a_mapping_of_another_task(tmp_path):
    def mapped(number):
        return vptx.attach(tiny(), DEEP, mapping=dict(type='RandomMapping', num_classes=number))

    save_prompt(mapped(3), tmp_path / 'p.safetensors')
    model = mapped(4)
    refused(model, tmp_path / 'p.safetensors', 'Only the head differs')
    vptx.load_prompt(model, tmp_path / 'p.safetensors', head=False)


def test_check_passes_what_was_described():
    model = prompted()
    tensors = {name: p for name, p in model.named_parameters() if p.requires_grad}
    check(model, tensors, describe(model), 'here')
