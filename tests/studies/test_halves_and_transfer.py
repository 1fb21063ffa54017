"""Studies of base and new classes, and of transfer to other data sets: by real runs of a head made of names."""

import json
from pathlib import Path
from zlib import crc32

import pytest
import torch
from mmengine.config import Config
from runs import tiny_config
from suites import write_coop
from torch import nn

from vptx.mappings.base import LabelMapping
from vptx.metrics import harmonic_mean
from vptx.registry import MAPPINGS
from vptx.studies.protocol import experiment, final_config, studies
from vptx.studies.report import read, write
from vptx.studies.results import markdown

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=16), dict(type='PackInputs')]


class Words(LabelMapping):
    """Columns are drawn by a checksum of the class name."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def bind(self, sources):
        self.turn = nn.Parameter(torch.eye(sources))
        self.set_classes([str(i) for i in range(self.num_classes)])

    def set_classes(self, names):
        self.num_classes = len(names)
        seeds = [torch.Generator().manual_seed(crc32(name.encode())) for name in names]
        self.weights = torch.stack([torch.randn(len(self.turn), generator=seed) for seed in seeds])

    def matrix(self):
        return self.turn @ self.weights.T

    def forward(self, logits):
        return logits @ self.matrix()


@pytest.fixture(autouse=True)
def words():
    MAPPINGS.register_module(module=Words, force=True)


def config_file(folder: Path, name: str, part: str, metric: str, **final) -> Path:
    """One learning rate, two seeds, each with two other images of every class."""

    def loader(split: str, part: str) -> dict:
        subset = None if split == 'test' else dict(shots=2, seed=0)
        data = dict(type='CoOpTask', data_root=str(folder), task='coop_eurosat', split=split, part=part, subset=subset)
        sampler = dict(type='DefaultSampler', shuffle=split == 'train')
        return dict(batch_size=10, num_workers=0, sampler=sampler, dataset=dict(data, pipeline=PIPELINE))

    classes = 5 if part == 'base' else 10
    mapping, prompter = dict(type='Words', num_classes=classes), dict(type='DeepPrompter', num_tokens=2)
    config = tiny_config(folder / 'unused', hooks=[dict(type='PromptTuningHook', prompter=prompter, mapping=mapping)])
    config['model']['head'] = dict(type='ClsHead')
    config['model']['backbone']['net']['num_classes'] = 6
    config['model']['backbone']['readout'] = 'logits'
    config['model']['data_preprocessor']['num_classes'] = 10
    for split, cut in (('train', part), ('val', part), ('test', 'all')):
        config[f'{split}_dataloader'] = loader(split, cut)
    config['test_evaluator'] = dict(type=metric)
    config['custom_imports'] = dict(imports=['vptx', 'vptx.datasets'])
    config['default_hooks'].update(names=dict(type='ClassNamesHook'), subsets=dict(type='SubsetRecordHook'))
    config['train_cfg']['max_epochs'] = 1
    config['grid'] = {}
    config['final'] = dict(split='train', seeds=[1, 2], new_subsets=True, **final)
    Config(config).dump(str(folder / f'{name}.py'))
    return folder / f'{name}.py'


def test_base_to_new(tmp_path):
    write_coop(tmp_path)
    found = studies([config_file(tmp_path, 'words_coop', 'base', 'BaseToNew')], tmp_path / 'out')
    (outcome,) = experiment(found, tmp_path / 'out')
    assert outcome.metric == 'H' and outcome.missing == [] and [len(v) for v in outcome.parts.values()] == [2] * 4
    for base, new, h in zip(*(outcome.parts[part] for part in ('base', 'new', 'H')), strict=True):
        assert h == pytest.approx(harmonic_mean(base, new))
    assert outcome.test == outcome.parts['H']
    runs = sorted((tmp_path / 'out').glob('words_coop/coop_eurosat/final/*/seed*'))
    drawn = [json.loads((run / 'subset_train.json').read_text()) for run in runs]
    assert [record['seed'] for record in drawn] == [1, 2] and drawn[0]['images'] != drawn[1]['images']
    assert not list((tmp_path / 'out').glob('**/select/**/prompt.safetensors'))
    assert '| test %, mean (range) | task | base | new | H | all |' in markdown([outcome])
    write(read([tmp_path / 'out']), tmp_path / 'report')
    assert '## Base and new classes' in (tmp_path / 'report' / 'report.md').read_text()
    result = runs[0] / 'result.json'
    result.write_text(result.read_text().replace('base_to_new/new', 'other'))
    with pytest.raises(ValueError, match=r'seed1/result\.json is damaged: it has a score and none for base_to_new/new'):
        found[0].outcome()


def test_transfer_to_another_data_set(tmp_path):
    write_coop(tmp_path)
    write_coop(tmp_path, 'coop_oxford_pets', dict(train=1, val=1, test=1))
    path = config_file(tmp_path, 'words_xd', 'all', 'Accuracy', transfer=['coop_oxford_pets'])
    found = studies([path], tmp_path / 'out')
    own, other = experiment(found, tmp_path / 'out')
    assert (own.task, other.task) == ('coop_eurosat', 'coop_oxford_pets')
    assert len(other.test) == 2 and other.method == own.method and other.metric == 'accuracy'
    assert other.test == pytest.approx([round(37 * score / 100) / 37 * 100 for score in other.test])  # of 37 images
    assert experiment(studies([path], tmp_path / 'out'), tmp_path / 'out') == [own, other]  # nothing is run again


def test_transfer_is_checked_before_anything_runs(tmp_path):
    write_coop(tmp_path)
    missing = studies([config_file(tmp_path, 'one', 'all', 'Accuracy', transfer=['coop_dtd'])], tmp_path / 'out')
    with pytest.raises(FileNotFoundError, match=r"CoOp's dtd: .*split_zhou_DescribableTextures"):
        experiment(missing, tmp_path / 'out')
    with pytest.raises(ValueError, match="transfer to 'dtd': it must be a task of CoOpTask"):
        studies([config_file(tmp_path, 'two', 'all', 'Accuracy', transfer=['dtd'])], tmp_path / 'out')


def test_a_selection_sees_neither_test_nor_new_classes(tmp_path):
    path = config_file(tmp_path, 'three', 'base', 'BaseToNew')
    study = studies([path], tmp_path / 'out')[0]
    chosen = study.selection()[0].config
    assert chosen.test_dataloader is None and chosen.test_evaluator is None
    assert {chosen[f'{split}_dataloader'].dataset.part for split in ('train', 'val')} == {'base'}
    final = final_config(study.config, {}, 7)
    assert final.train_dataloader.dataset.subset.seed == 7 and final.val_dataloader is None


def test_final_runs_that_choose_on_validation_images_have_them_and_do_not_train_on_them(tmp_path):
    path = config_file(tmp_path, 'four', 'all', 'Accuracy', validation=True)
    final = studies([path], tmp_path / 'out')[0].config
    assert final_config(final, {}, 7).val_dataloader.dataset.split == 'val'
    path = config_file(tmp_path, 'five', 'all', 'Accuracy', validation=True)
    path.write_text(path.read_text().replace("split='train',", "split='trainval',"))
    with pytest.raises(ValueError, match=r"five\.py: final\.validation chooses on images on which .*'trainval' trains"):
        studies([path], tmp_path / 'out')
