"""A prompt file knows the prompted network and nothing of what is around it."""

import gc
from itertools import permutations

import pytest
import torch
from mmpretrain.models import ImageClassifier
from networks import tiny
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import vptx
from vptx.attach import find_prompted_network
from vptx.kept import file_names, find_place
from vptx.prompt_file import read_prompt

DEEP = dict(type='DeepPrompter', num_tokens=3)
FEATURES = dict(type='LinearClsHead', num_classes=5, in_channels=32)
PIXELS = dict(mean=[120.0] * 3, std=[60.0] * 3)


class Trainer(nn.Module):
    """As a LightningModule holds a model, with a loss and its numbers beside it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.loss = nn.CrossEntropyLoss(weight=torch.ones(7))


class Named(nn.Module):
    """A network and a head by names of one's own, the network in the depth and by a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.ModuleDict(dict(encoder=tiny()))
        self.head = nn.ModuleDict(dict(fc=nn.Linear(32, 5)))
        self.same = self.trunk['encoder']


@pytest.fixture
def group(tmp_path):
    torch.distributed.init_process_group('gloo', f'file://{tmp_path}/store', world_size=1, rank=0)
    yield
    torch.distributed.destroy_process_group()
    gc.collect()  # a process that a later test forks would wait for ever for the threads of a group that it collects


def classifier() -> nn.Module:
    torch.manual_seed(0)  # where the head is frozen, it has to be the same
    return ImageClassifier(tiny(), head=FEATURES, data_preprocessor=PIXELS)


def part_compiled(model: nn.Module) -> nn.Module:
    network = find_prompted_network(model)
    network.net.model.norm = torch.compile(network.net.model.norm, backend='eager')
    return model


AROUND = {
    'bare': lambda model: model,
    'compiled': lambda model: torch.compile(model, backend='eager'),
    'a part compiled': part_compiled,
    'DataParallel': nn.DataParallel,
    'DistributedDataParallel': lambda model: DistributedDataParallel(model, find_unused_parameters=True),
    'in a module': Trainer,
    'all of them': lambda model: torch.compile(nn.DataParallel(Trainer(model)), backend='eager'),
}
#: Where prompts and the last norm train, and nothing else.
NETWORKS = {name: lambda around=around: around(prompted(tiny())) for name, around in AROUND.items()} | {
    'ImageClassifier': lambda: prompted(classifier()),
    'compiled ImageClassifier': lambda: torch.compile(prompted(classifier()), backend='eager'),
    'a part': lambda: prompted(Named(), at='trunk.encoder'),
}
#: Where a head beside the network trains, too.
CLASSIFIERS = {
    name: lambda around=around: around(prompted(classifier(), ['head.fc'])) for name, around in AROUND.items()
} | {'a part': lambda: prompted(Named(), ['head.fc'], at='trunk.encoder')}


def prompted(model: nn.Module, tune=(), **where) -> nn.Module:
    return vptx.attach(model, DEEP, tune=[*tune, r'(net\.model|_orig_mod)\.norm'], **where)


def kept(model: nn.Module) -> dict[str, torch.Tensor]:
    """What trains in a model, by the last two parts of its names."""
    found = model.state_dict()
    trains = {id(p) for p in model.parameters() if p.requires_grad}
    names = [name for name, p in model.named_parameters() if id(p) in trains]
    return {'.'.join(name.replace('_orig_mod.', '').split('.')[-2:]): found[name] for name in names}


@pytest.mark.parametrize('models', [NETWORKS, CLASSIFIERS], ids=['prompts alone', 'with a head'])
def test_a_file_of_any_loads_into_any(models, tmp_path, group):
    made = {name: make() for name, make in models.items()}
    for number, model in enumerate(made.values()):
        for tensor in kept(model).values():
            nn.init.constant_(tensor, number)
        vptx.save_prompt(model, tmp_path / f'{number}.safetensors')
    number = {name: index for index, name in enumerate(made)}
    contents = [read_prompt(tmp_path / f'{index}.safetensors') for index in number.values()]
    assert all(tensors.keys() == contents[0][0].keys() for tensors, _ in contents)
    for theirs, ours in permutations(made, 2):
        vptx.load_prompt(made[ours], tmp_path / f'{number[theirs]}.safetensors')
        assert all((tensor == number[theirs]).all() for tensor in kept(made[ours]).values()), (theirs, ours)


def test_names_in_a_file(tmp_path):
    vptx.save_prompt(Trainer(prompted(classifier(), ['head.fc'])), tmp_path / 'a.safetensors')
    tensors, facts = read_prompt(tmp_path / 'a.safetensors')
    rows = [f'prompter.embedding.rows.{i}' for i in range(3)]
    heads = ['outside.head.fc.weight', 'outside.head.fc.bias']
    assert tensors.keys() == {*rows, 'net.model.norm.weight', 'net.model.norm.bias', *heads}
    assert facts['prompts'] == rows


@pytest.mark.parametrize(
    ('place', 'names', 'expected'),
    [
        ('', ['prompter.a', 'net.model.b'], ['prompter.a', 'net.model.b']),
        ('module.model.', ['module.model.prompter.a'], ['prompter.a']),
        ('backbone.', ['backbone.prompter.a', 'net.b'], ['prompter.a', 'outside.net.b']),
        ('m.backbone.', ['m.backbone.prompter.a', 'm.head.b', 'm.neck.c'], None),
        ('m.a.encoder.', ['m.a.encoder.prompter.a', 'm.head.b'], ['prompter.a', 'outside.head.b']),
        ('backbone.', ['backbone.prompter.a', 'scale'], ['prompter.a', 'outside.scale']),
        ('backbone.', ['head.b'], ['outside.head.b']),
    ],
)
def test_names_are_relative_to_what_holds_all(place, names, expected):
    expected = expected or ['prompter.a', 'outside.head.b', 'outside.neck.c']
    assert file_names(names, place) == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize(
    ('names', 'place'),
    [
        (['prompter.embedding.rows.0'], ''),
        (['backbone.prompter.prompters.0.delta', 'head.fc.weight'], 'backbone.'),
        (['head.net.0.weight', 'module.encoder.net.model.norm.bias'], 'module.encoder.'),
        (['mapping.counts'], ''),
        (['head.fc.weight'], 'backbone.'),
    ],
)
def test_where_the_network_was_is_told_by_the_names(names, place):
    assert find_place(names) == place
