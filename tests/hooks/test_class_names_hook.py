"""A head made of class names, trained on base classes and tested on all: names follow the data, and come back."""

from zlib import crc32

import pytest
import torch
from runs import runner
from suites import write_coop
from torch import nn

from vptx.attach import find_prompted_network
from vptx.mappings.base import LabelMapping
from vptx.registry import MAPPINGS

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=16), dict(type='PackInputs')]


@pytest.fixture(autouse=True)
def words():
    """A mapping whose weights are made of names, by a checksum: what a text head does with a text tower."""

    class Words(LabelMapping):
        def __init__(self, num_classes: int) -> None:
            super().__init__()
            self.num_classes, self.named = num_classes, []

        def bind(self, sources):
            self.turn = nn.Parameter(torch.eye(sources))
            self.set_classes([str(i) for i in range(self.num_classes)])
            self.named.clear()

        def set_classes(self, names, template=None):
            self.named.append(len(names))
            self.templates = [*getattr(self, 'templates', ()), template]
            self.num_classes = len(names)
            seeds = [torch.Generator().manual_seed(crc32(name.encode())) for name in names]
            self.weights = torch.stack([torch.randn(len(self.turn), generator=seed) for seed in seeds])

        def forward(self, logits):
            return logits @ self.matrix()

        def matrix(self):
            return self.turn @ self.weights.T

    MAPPINGS.register_module(module=Words, force=True)


def run(tmp_path, mapping, **options):
    def loader(split, part):
        dataset = dict(type='CoOpTask', data_root=str(tmp_path), task='coop_eurosat', split=split, part=part)
        sampler = dict(type='DefaultSampler', shuffle=False)
        return dict(batch_size=5, num_workers=0, sampler=sampler, dataset=dict(dataset, pipeline=PIPELINE))

    prompter = dict(type='DeepPrompter', num_tokens=2)
    return runner(
        tmp_path / 'run',
        hooks=[
            dict(type='PromptTuningHook', prompter=prompter, mapping=dict(type=mapping, num_classes=5)),
            dict(type='ClassNamesHook', **options),
        ],
        **{
            'model.head': dict(type='ClsHead', _delete_=True),
            'model.backbone.net.num_classes': 6,
            'model.backbone.readout': 'logits',
            'model.data_preprocessor.num_classes': 10,
            'train_dataloader': dict(loader('train', 'base'), _delete_=True),
            'val_dataloader': dict(loader('val', 'base'), _delete_=True),
            'test_dataloader': dict(loader('test', 'all'), _delete_=True),
            'test_evaluator': dict(type='BaseToNew', _delete_=True),
            'train_cfg.val_interval': 1,
            'train_cfg.max_epochs': 1,
        },
    )


def test_trained_on_base_and_tested_on_all(tmp_path):
    write_coop(tmp_path)
    made = run(tmp_path, 'Words')
    made.train()
    mapping = find_prompted_network(made.model).mapping
    assert mapping.named == [5] and mapping.num_classes == 5  # validation has the same names
    found = made.test()
    assert mapping.named == [5, 10, 5]
    assert set(found) >= {'base_to_new/base', 'base_to_new/new', 'base_to_new/H', 'base_to_new/all'}
    names = find_prompted_network(made.model).classes.names
    assert names == tuple(f'kind {i}' for i in range(5))


@pytest.mark.parametrize('templates', [False, True])
def test_templates_of_the_data_if_asked(tmp_path, templates):
    write_coop(tmp_path)
    made = run(tmp_path, 'Words', templates=templates)
    made.train()
    made.test()
    given = 'a centered satellite photo of {}.' if templates else None
    assert find_prompted_network(made.model).mapping.templates == [None, *[given] * 3]


def test_other_mappings_are_left_alone_and_checked(tmp_path):
    write_coop(tmp_path)
    made = run(tmp_path, 'IndexMapping')
    made.train()
    with pytest.raises(ValueError, match='has 10 classes, the mapping num_classes=5'):
        made.test()
