"""A bank of tasks on one network: a mixed batch gives each image what its task alone would."""

import json
import os
from pathlib import Path
from threading import Thread

import pytest
import timm
import torch
from covering import rest_slow
from networks import NETWORKS, SIZE, config, image_prompters, images, tiny
from safetensors.torch import load_file, save_file
from torch import nn

import vptx
from vptx.backbones import wrap_backbone
from vptx.backbones.memory import each_ready
from vptx.registry import NETS
from vptx.serve import Bank, UnknownTask

CLASSES = {'deep': 3, 'longer': 5, 'shallow': 4, 'added': 2, 'border': 6, 'SSF': 3, 'LoRA': 4, 'probe': 7}
PROMPTERS = {
    'deep': dict(type='DeepPrompter', num_tokens=2),
    'longer': dict(type='DeepPrompter', num_tokens=5, project_dim=4),
    'shallow': dict(type='ShallowPrompter', num_tokens=3),
    'added': dict(type='AddedPrompter', deep=True),
    'border': dict(type='BorderPrompter', width=4),
    'SSF': dict(type='SSF'),
    'LoRA': dict(type='LoRA', rank=2),
    'probe': None,
}
#: Which act on what all samples share, or beside the network.
REFUSED = {
    'ChannelPrompter',
    'CODAPrompt',
    'DualPrompt',
    'ExplicitPrompter',
    'L2P',
    'PrependedPixelPrompter',
    'SideTuning',
}
#: One of each net that has a linear classifier and doors enough.
FAMILIES = [
    'plain',
    'registers',
    'clip',
    'averaged',
    'EVA-02',
    'BEiT',
    'NaFlex',
    'swin',
    'torchvision',
    'query-key norm',
]


def task(network: str, name: str, classes: int, double: bool = False, **options) -> nn.Module:
    """A model of a task, as after some training, in eval mode."""
    torch.manual_seed(sum(map(ord, name)))
    model = tiny(network)
    part = wrap_backbone(model).classifier
    head = next(n for n, module in model.named_modules() if module is part)
    parent, _, leaf = head.rpartition('.')
    new = nn.Linear(part.in_features, classes)
    holder = model.get_submodule(parent)
    if leaf.isdigit():
        holder[int(leaf)] = new
    else:
        setattr(holder, leaf, new)
    prompter = options.pop('prompter', PROMPTERS.get(name))
    model = vptx.attach(model, prompter, tune=[head], **options)
    with torch.no_grad():
        for parameter in model.prompter.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return (model.double() if double else model).eval()


def saved(model: nn.Module, path: Path) -> Path:
    vptx.save_prompt(model, path)
    return path


def fits(network: str, name: str) -> bool:
    prompter, facts = PROMPTERS[name], wrap_backbone(tiny(network)).geometry
    try:
        vptx.attach(tiny(network), prompter)
    except ValueError:
        return False
    return bool(facts.doors)


FEW = [('plain', True), ('swin', False), ('EVA-02', False)]


@pytest.mark.parametrize(
    ('network', 'double'), rest_slow([(name, double) for name in FAMILIES for double in (False, True)], FEW)
)
def test_a_mixed_batch_is_each_task_alone(network, double, tmp_path):
    names = [name for name in PROMPTERS if fits(network, name)]
    bank = Bank(tiny(network).double() if double else tiny(network), tmp_path / 'bank')
    alone = {}
    for name in names:
        alone[name] = task(network, name, CLASSES[name], double)
        bank.add(name, saved(alone[name], tmp_path / f'{name}.safetensors'))
    order = torch.randperm(3 * len(names), generator=torch.Generator().manual_seed(1)).tolist()
    batch = images(3 * len(names)).to(torch.float64 if double else torch.float32)
    batch[1] = batch[0]  # one image under two tasks
    asked = [names[i % len(names)] for i in order]
    found = bank.predict(batch, asked)
    for i, (name, logits) in enumerate(zip(asked, found, strict=True)):
        wanted = alone[name](batch[i : i + 1])[0].detach()
        assert logits.shape == wanted.shape
        difference = (logits - wanted).abs().max() / wanted.abs().max()
        assert difference <= (1e-12 if double else 1e-5), (name, difference)


def test_what_pads_shorter_prompts_does_not_matter():
    """Also beside a task without prompts, whose keys are padding alone."""
    from vptx.backbones.memory import attend
    from vptx.geometry import KeyValue

    query, key, value = torch.randn(3, 4, 2, 5, 8).double()
    memory = KeyValue(*torch.randn(2, 4, 2, 3, 8).double(), torch.arange(3) >= torch.tensor([0, 1, 3, 2])[:, None])
    found = attend(query, key, value, memory)
    for row, length in enumerate([0, 1, 3, 2]):
        one = slice(row, row + 1)
        own = KeyValue(memory.key[row, :, :length], memory.value[row, :, :length]) if length else None
        torch.testing.assert_close(found[one], attend(query[one], key[one], value[one], own), rtol=0, atol=1e-13)
    rubbish = torch.where(memory.hidden[:, None, :, None], 1e6, memory.key)
    torch.testing.assert_close(attend(query, key, value, memory._replace(key=rubbish)), found, rtol=0, atol=0)


@pytest.mark.parametrize('network', ['plain', 'swin'])
def test_rubbish_in_the_padding_changes_no_answer(network, tmp_path, monkeypatch):
    bank, alone, padded = Bank(tiny(network), tmp_path / 'bank'), {}, []
    for name, tokens in dict(deep=2, longer=5, probe=0).items():
        prompter = dict(type='DeepPrompter', num_tokens=tokens) if tokens else None
        alone[name] = task(network, name, CLASSES[name], prompter=prompter)
        bank.add(name, saved(alone[name], tmp_path / f'{name}.safetensors'))

    def rubbish(parts, counts):
        found = each_ready(parts, counts)
        if found is None or found.hidden is None:
            return found
        padded.append(int(found.hidden.sum()))
        hidden = found.hidden[:, None, :, None]
        return found._replace(key=found.key.masked_fill(hidden, 1e4), value=found.value.masked_fill(hidden, -1e4))

    monkeypatch.setattr('vptx.backbones.base.each_ready', rubbish)
    check(bank, alone, ('probe', 'deep', 'longer', 'deep'))
    assert padded and all(padded)


@pytest.mark.parametrize('kind', image_prompters())
def test_every_prompter_is_served_or_refused_with_the_reason(kind, tmp_path):
    model = task('plain', kind, 3, prompter=config(kind))
    path = saved(model, tmp_path / 'a.safetensors')
    bank = Bank(tiny(), tmp_path / 'bank')
    if kind in REFUSED:
        with pytest.raises(ValueError, match='cannot be one of several prompters in a batch'):
            bank.add('a', path)
        assert bank.names == ()
        return
    bank.add('a', path)
    bank.add('probe', saved(task('plain', 'probe', 4), tmp_path / 'probe.safetensors'))
    found = bank.predict(images(3), ['a', 'probe', 'a'])
    for row in (0, 2):
        torch.testing.assert_close(found[row], model(images(3)[row : row + 1])[0].detach(), rtol=1e-4, atol=1e-5)


def test_prompters_in_a_stack(tmp_path):
    stack = [dict(type='BorderPrompter', width=4), dict(type='LoRA', rank=2), dict(type='DeepPrompter', num_tokens=2)]
    other = [dict(type='SSF'), dict(type='DeepPrompter', num_tokens=2)]
    models = {name: task('plain', name, 3, prompter=parts) for name, parts in dict(one=stack, two=other).items()}
    bank = Bank(tiny(), tmp_path / 'bank')
    for name, model in models.items():
        bank.add(name, saved(model, tmp_path / f'{name}.safetensors'))
    found = bank.predict(images(4), ['one', 'two', 'two', 'one'])
    for row, name in enumerate(['one', 'two', 'two', 'one']):
        torch.testing.assert_close(found[row], models[name](images(4)[row : row + 1])[0].detach(), rtol=1e-4, atol=1e-5)


@pytest.fixture
def two(tmp_path):
    """A bank of one slot with two tasks, and the tasks alone."""
    alone = {name: task('plain', name, CLASSES[name]) for name in ('deep', 'shallow')}
    bank = Bank(tiny(), tmp_path / 'bank', slots=1)
    for name, model in alone.items():
        bank.add(name, saved(model, tmp_path / f'{name}.safetensors'))
    return bank, alone, tmp_path


def check(bank, alone, names=('deep', 'shallow', 'deep')):
    batch = images(len(names))
    for row, (name, logits) in enumerate(zip(names, bank.predict(batch, names), strict=True)):
        torch.testing.assert_close(logits, alone[name](batch[row : row + 1])[0].detach(), rtol=1e-5, atol=1e-5)


def test_more_tasks_than_slots(two):
    bank, alone, _ = two
    check(bank, alone)
    assert len(bank._ready) == 1 and bank.loads >= 1
    loads = bank.loads
    check(bank, alone, ('shallow', 'shallow'))
    check(bank, alone, ('shallow',))
    assert bank.loads <= loads + 1


def test_the_task_that_was_asked_for_longest_ago_gives_way_unless_it_is_pinned(tmp_path):
    bank = Bank(tiny(), tmp_path / 'bank', slots=2)
    for name in ('deep', 'shallow', 'probe'):
        bank.add(name, saved(task('plain', name, CLASSES[name]), tmp_path / f'{name}.safetensors'))
    assert list(bank._ready) == ['shallow', 'probe'] and bank.names == ('deep', 'probe', 'shallow')
    bank.task('shallow')
    bank.task('deep')
    assert list(bank._ready) == ['shallow', 'deep']
    with bank.pinned(['shallow']) as (pinned,):
        bank.task('probe')
        assert list(bank._ready) == ['shallow', 'probe'] and bank.task('shallow') is pinned
    assert bank.loads == 2
    with pytest.raises(ValueError, match='3 tasks at a time are more than the 2 slots'), bank.pinned(bank.names):
        pass


def test_a_replaced_task_is_another_version_and_pins_keep_the_old_one(two):
    bank, alone, folder = two
    newer = task('plain', 'longer', 6)
    with bank.pinned(['deep']) as (old,):
        version = bank.add('deep', saved(newer, folder / 'newer.safetensors'))
        assert version != old.version and len(old.head.weight) == CLASSES['deep']
    assert bank.task('deep').version == version
    check(bank, {**alone, 'deep': newer})


def test_banks_of_one_folder_see_what_another_adds_and_removes(two):
    bank, alone, folder = two
    other = Bank(tiny(), folder / 'bank')
    check(other, alone)
    newer = task('plain', 'longer', 6)
    bank.add('deep', saved(newer, folder / 'newer.safetensors'))
    check(other, {**alone, 'deep': newer})
    bank.remove('shallow')
    assert other.names == ('deep',) and 'shallow' not in other
    with pytest.raises(UnknownTask, match=r"there is no task 'shallow'\. There are: deep"):
        other.predict(images(1), ['shallow'])
    with pytest.raises(UnknownTask):
        bank.remove('shallow')


def test_a_slot_is_waited_for(two):
    bank, *_ = two
    with bank.pinned(['deep']):
        waiting = Thread(target=bank.task, args=('shallow',))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
    waiting.join(5)
    assert not waiting.is_alive()


@pytest.mark.parametrize('name', ['', '..', 'a/b', '../a', 'a.b', '.a', 'a\0', 'x' * 65, '-a', 'a\n', None])
def test_names_are_no_paths(two, name):
    bank, _, folder = two
    with pytest.raises(ValueError, match='is no name of a task'):
        bank.add(name, folder / 'deep.safetensors')
    if name is not None:
        with pytest.raises(UnknownTask):
            bank.predict(images(1), [name])


def change(path: Path, target: Path, **facts) -> Path:
    from safetensors import safe_open

    with safe_open(path, 'pt') as file:
        known = json.loads(file.metadata()['vptx'])
    save_file(load_file(path), target, {'vptx': json.dumps(known | facts)})
    return target


def spoils(path: Path, folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that do not fit, and what is said of them."""
    tensors = load_file(path)
    bad = folder / 'bad'
    bad.mkdir()
    cut = bad / 'cut.safetensors'
    cut.write_bytes(path.read_bytes()[:-20])
    other = bad / 'other.safetensors'
    save_file(tensors, other)
    huge = {'num_tokens': 10**9, 'layers': [0, 1, 2]}
    fetches = dict(encoder=dict(type='TimmViT', model='vit_mini_patch8_64', weights='http://127.0.0.1:9/a.pth'))
    trained = vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=2), tune=['head', 'norm1'])
    elsewhere = vptx.attach(timm.create_model('vit_mini_patch8_64'), None, tune=['head'])
    weights = tiny()
    weights.blocks[0].mlp.fc1.weight.data[0, 0] += 1
    fingerprint = vptx.attach(weights, dict(type='DeepPrompter', num_tokens=2), tune=['head'])
    for name, model in dict(trained=trained, elsewhere=elsewhere, fingerprint=fingerprint).items():
        vptx.save_prompt(model, bad / f'{name}.safetensors')
    return {
        'truncated': (cut, 'truncated, or not a safetensors file'),
        'of others': (other, 'is no prompt file of vptx'),
        'of a later version': (change(path, bad / 'later.safetensors', format=9), 'written by a later version'),
        'of format 1': (change(path, bad / 'f1.safetensors', format=1, fingerprint='0'), 'is of format 1'),
        'of a huge prompter': (change(path, bad / 'huge.safetensors', prompter_settings=huge), 'says .*num_tokens'),
        'that has a network built': (
            change(path, bad / 'net.safetensors', prompter='CODAPrompt', prompter_settings=fetches),
            'says encoder=.* of its CODAPrompt, which no file of vptx says',
        ),
        'of an unknown prompter': (change(path, bad / 'x.safetensors', prompter='os.system'), 'not registered here'),
        'of another size': (change(path, bad / 'size.safetensors', image=[64, 64]), 'images of 64 x 64 px'),
        'of other pixels': (change(path, bad / 'p.safetensors', pixels=dict(mean=[0.0], std=[1.0])), 'normalised by'),
        'of another readout': (change(path, bad / 'readout.safetensors', readout="'mean'"), "readout='mean'"),
        'of a mapping': (
            change(path, bad / 'm.safetensors', mapping=dict(type='X')),
            'readout=.cls., this bank has readout=.logits.',
        ),
        'with more that trained': (bad / 'trained.safetensors', 'which does not train here'),
        'of another network': (bad / 'elsewhere.safetensors', 'belongs to the network'),
        'of other weights': (bad / 'fingerprint.safetensors', 'other frozen weights'),
    }


def test_a_file_that_does_not_fit_leaves_the_bank_as_it_was(two):
    bank, alone, folder = two
    before = {path.name: path.read_bytes() for path in (folder / 'bank').iterdir()}
    for what, (path, message) in spoils(folder / 'deep.safetensors', folder).items():
        with pytest.raises(ValueError, match=message) as error:
            bank.add('deep', path)
        assert str(path) in str(error.value), what
    assert {path.name: path.read_bytes() for path in (folder / 'bank').iterdir()} == before
    check(bank, alone)


def test_a_file_names_no_file_and_no_address_that_is_read(two, tmp_path):
    bank, alone, folder = two
    settings = dict(num_tokens=2, layers=[0, 1, 2], init=str(tmp_path / 'not there.npy'))
    bank.add('deep', change(folder / 'deep.safetensors', tmp_path / 'init.safetensors', prompter_settings=settings))
    check(bank, alone)


def test_without_a_folder_files_stay_where_they_are(tmp_path):
    model, bank = task('plain', 'deep', 3), Bank(tiny())
    path = saved(model, tmp_path / 'a.safetensors')
    bank.add('deep', path)
    check(bank, dict(deep=model), ('deep',))
    assert bank.names == ('deep',)
    os.unlink(path)
    with pytest.raises(UnknownTask):
        bank.predict(images(1), ['deep'])


def test_what_a_bank_does_not_take(two):
    bank, *_ = two
    with pytest.raises(ValueError, match='1 names of tasks for 2 images'):
        bank.predict(images(2), ['deep'])
    with pytest.raises(ValueError, match='slots must be a whole number'):
        Bank(tiny(), slots=0)
    with pytest.raises(ValueError, match='before one linear classifier'):
        Bank(tiny('distilled'))
    assert bank.predict(images(0), []) == []


def test_the_model_that_a_bank_is_built_on_stays_as_it_is(tmp_path):
    model = task('plain', 'deep', 3)
    before = model(images())
    Bank(model, tmp_path)
    assert torch.equal(model(images()), before) and model.prompter.num_tokens == 2


def test_a_network_is_a_bank_of_the_nets_it_names():
    NETS.import_from_location()
    assert set(FAMILIES) <= set(NETWORKS) and SIZE == 32
