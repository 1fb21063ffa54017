"""What an experiment leaves in its folder, and what it and the report read again."""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config
from runs import hook, net, tiny_config, write_weights
from suites import write_vtab

from vptx.studies import report
from vptx.studies.protocol import experiment, studies

from .battery import Kind, Spoil, scratch
from .image_lists import entries, line, lines
from .prompt_files import KIND as PROMPT_FILE
from .spoils import BYTES, NO_FILES, content

METHOD = 'deep/kitti'
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LegacyResize', scale=16), dict(type='PackInputs')]


def _loader(data: Path, split: str) -> dict:
    dataset = dict(type='BenchmarkTask', data_root=str(data), task='kitti', split=split, pipeline=PIPELINE)
    shuffle = dict(type='DefaultSampler', shuffle=split == 'train')
    return dict(batch_size=4, num_workers=0, persistent_workers=False, sampler=shuffle, dataset=dataset)


@cache
def config() -> Path:
    """A config of one rate and one seed, on a small kitti."""
    folder = scratch() / 'experiment'
    write_vtab(folder / 'data', 'kitti')
    made = tiny_config(folder / 'unused', hooks=[hook(dict(type='DeepPrompter', num_tokens=2))])
    made |= {f'{split}_dataloader': _loader(folder / 'data', split) for split in ('train', 'val', 'test')}
    made['custom_imports'] = dict(imports=['vptx', 'vptx.datasets'])
    made['model']['backbone']['net'] = net(weights=str(write_weights(folder / 'weights.pth')))
    made['model']['data_preprocessor']['num_classes'] = made['model']['head']['num_classes'] = 4
    made['train_cfg']['max_epochs'] = 1
    made |= dict(grid={'base_lr': [1.28]}, final=dict(split='trainval', seeds=[1]))
    Config(made).dump(str(folder / 'deep.py'))
    return folder / 'deep.py'


@cache
def finished() -> Path:
    """The folder of a real experiment: a run that validation chose, and one on the test split."""
    out = scratch() / 'experiment' / 'out'
    said: list[str] = []
    (outcome,) = experiment(studies([config()], out), out, say=said.append)
    if outcome.missing:  # no bad file is to blame
        raise RuntimeError(f'an experiment with good files ends without {outcome.missing}: {said}')
    return out


def good(name: str) -> Callable[[Path], Path]:
    """A copy of all that, with a file in it."""

    def copy(folder: Path) -> Path:
        shutil.copytree(finished(), folder / 'out')
        (path,) = (folder / 'out').glob(name)
        return path

    return copy


def again(path: Path, work: Path) -> Any:
    """The same command once more."""
    out = _root(path)
    return [asdict(outcome) for outcome in experiment(studies([config()], out), out)]


def reported(path: Path, work: Path) -> Any:
    report.write(report.read([_root(path)]), work)
    return (work / 'report.md').read_text()


def looked_at(path: Path, work: Path) -> Any:
    report.write(report.read([_root(path)]), work, look=['kitti'])
    return (work / 'report.md').read_text()


def _root(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.name == 'out')


#: What is wrong with any JSON of facts.
FACTS = {
    **{name: spoil for name, spoil in BYTES.items() if name != 'JSON'},
    'JSON of something else': BYTES['JSON'],
    'a number': content(b'3'),
    'None': content(b'null'),
    'nested without end': content(b'[' * 100_000),
}


def facts(**changes: Any) -> Spoil:
    """Other facts, in a dictionary or in the first of a list of them."""

    def edit(found: Any) -> None:
        (found[0] if isinstance(found, list) else found).update(changes)

    return entries(edit)


RESULT = Kind(
    'result of a run',
    good(f'{METHOD}/select/*/result.json'),
    {
        **{name: spoil for name, spoil in FACTS.items() if name not in NO_FILES},  # without one it runs again
        'a list': content(b'[]'),
        'no score': entries(lambda found: found.pop('score') and None),
        'a fact of tomorrow': facts(colour='red'),
        'a score that is NaN': facts(score=float('nan')),
        'a score that is a word': facts(score='good'),
        'a score that is a list': facts(score=[1]),
        'settings that are None': facts(point=None),
        'settings that are a list': facts(point=[1]),
        'a rate that is a word': facts(point={'base_lr': 'fast'}),
        'numbers that are words': facts(trained='many', kilobytes='few'),
    },
    {'experiment.py': again},
    harmless=('a fact of tomorrow',),
)

RESULTS = Kind(
    'results of an experiment',
    good('results.json'),
    {
        **FACTS,
        'a list of numbers': content(b'[1, 2]'),
        'no task': entries(lambda found: found[0].pop('task') and None),
        'a fact of tomorrow': facts(colour='red'),
        'accuracies that are words': facts(test=['good']),
        'accuracies that are NaN': facts(test=[float('nan')]),
        'accuracies that are a number': facts(test=3),
        'an accuracy that is a word': facts(val='good'),
        'a task that is a list': facts(task=['kitti']),
        'a config that is a number': facts(leaf=3),
        'settings that are a list': facts(point=[1]),
        'missing runs that are a number': facts(missing=3),
        'a size that is a word': facts(kilobytes='few'),
    },
    {'report.py': reported},
    harmless=('a fact of tomorrow',),
)

TRIALS = Kind(
    'table of trials',
    good('trials.csv'),
    {
        **BYTES,
        'no header': lines(lambda rows: rows[1:]),
        'other columns': line(0, 'a,b,c,d'),
        'a row of one cell': line(1, 'deep'),
        'a row of more cells': line(1, lambda row: f'{row},1,2,3'),
        'a null byte': line(1, lambda row: f'{row}\0'),
    },
    {'report.py': reported},
)

KEPT = Kind(
    'config of an experiment',
    good(f'{METHOD}/config.*'),
    {
        **BYTES,
        'a config that runs code': lambda path, bait: path.write_text(f'open({str(bait.canary)!r}, "w")') and None,
    },
    {'experiment.py': again, 'report.py --look': looked_at},
    only=dict.fromkeys(NO_FILES, ('report.py --look',)),  # the experiment writes it again
)

PROMPT = Kind(
    'prompt file of an experiment',
    good(f'{METHOD}/final/*/seed1/prompt.safetensors'),
    {
        name: PROMPT_FILE.spoils[name]
        for name in (
            'half of it',
            'a folder',
            'a pickle that runs code',
            'no facts',
            'a tensor: NaN',
            'frozen weights from an address',
        )
    },
    {'report.py --look': looked_at},
    harmless=('frozen weights from an address',),
)
