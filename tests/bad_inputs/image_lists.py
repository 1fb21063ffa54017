"""Which images there are and what is in them: folders, tables, lists, JSON, and records of subsets."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runs import runner
from suites import write_coop, write_fgvc, write_image, write_vtab

from vptx.datasets import BenchmarkTask, CoOpTask, CustomImages

from .battery import Bait, Kind, Spoil
from .prompt_files import state_of
from .spoils import BYTES, NO_FILES, content

__all__ = ['entries', 'line', 'lines', 'run']

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=16), dict(type='PackInputs')]


def listed(data: Any, root: Path) -> Any:
    """The images of a data set, and their classes."""
    items = [data.get_data_info(i) for i in range(len(data))]
    names = data.metainfo['classes']
    return [(os.path.relpath(item['img_path'], root), names[item['gt_label']]) for item in items]


def run(data: dict[str, Any], classes: int, work: Path) -> Any:
    """Of an epoch on a data set."""
    data = dict(data, pipeline=PIPELINE, _delete_=True)
    made = runner(
        work,
        **{
            'train_dataloader.dataset': data,
            'val_dataloader.dataset': dict(data, split='val'),
            'model.head.num_classes': classes,
            'model.data_preprocessor.num_classes': classes,
            'train_cfg.max_epochs': 1,
        },
    )
    made.train()
    return state_of(made.model)


def lines(edit: Callable[[list[str]], list[str]], encoding: str = 'utf-8') -> Spoil:
    """Other lines."""

    def spoil(path: Path, bait: Bait) -> None:
        path.write_text('\n'.join(edit(path.read_text().splitlines())) + '\n', encoding=encoding)

    return spoil


def line(number: int, text: str | Callable[[str], str], names: str = '') -> Spoil:
    """Another line there; an error names the file, or what the line names."""

    def edit(found: list[str]) -> list[str]:
        found[number] = text if isinstance(text, str) else text(found[number])
        return found

    def spoil(path: Path, bait: Bait) -> Path | None:
        lines(edit)(path, bait)
        return Path(names) if names else None

    return spoil


#: What is wrong with any file of text that has a line for each image.
TEXT = {
    name: BYTES[name]
    for name in (
        'empty',
        'one byte',
        'only zeros',
        'noise',
        'text',
        'a page of a web server',
        'a picture',
        'an archive of something else',
        'compressed',
        'not there',
        'a folder',
        'a link to nothing',
        'a link to itself',
        'a pipe',
    )
}


# Tables.


def write_table(folder: Path) -> Path:
    root = folder / 'pets'
    for i in range(6):
        write_image(root / 'img' / f'{i}.png', i % 2)
    rows = [f'img/{i}.png,{("cat", "dog")[i % 2]}' for i in range(6)]
    for split in ('train', 'val'):
        (root / f'{split}.csv').write_text('\n'.join(['image,label', *rows]) + '\n')
    return root / 'train.csv'


def custom(path: Path, work: Path) -> Any:
    return listed(CustomImages(str(path.parent)), path.parent)


def run_of_table(path: Path, work: Path) -> Any:
    return run(dict(type='CustomImages', data_root=str(path.parent)), 2, work)


def _one_class(path: Path, bait: Bait) -> Path:
    for table in path.parent.glob('*.csv'):
        lines(lambda rows: [row.replace('dog', 'cat') for row in rows])(table, bait)
    return path.parent


#: What is found when a run begins: the files that a list names.
MISSING = ('an image that is not there', 'an image by the path of another system', 'a folder as an image', 'one class')


TABLE = Kind(
    'table',
    write_table,
    {
        **TEXT,
        'no header': lines(lambda rows: rows[1:]),
        'only a header': lines(lambda rows: rows[:1]),
        'other columns': line(0, 'file,class'),
        'the same column twice': line(0, 'image,image'),
        'a row of one cell': line(2, 'img/1.png'),
        'a row of three cells': line(2, 'img/a, b.png,dog'),
        'a row without an image': line(2, ',dog'),
        'a row without a label': line(2, 'img/1.png,'),
        'a quote that never ends': line(2, '"img/1.png,dog'),
        'an image that is not there': line(2, 'img/99.png,dog', '99.png'),
        'an image by the path of another system': line(2, 'img\\1.png,dog', 'img\\1.png'),
        'a folder as an image': line(2, 'img,dog', 'img'),
        'the same image twice, as another': lines(lambda rows: [*rows, 'img/0.png,dog']),
        'columns apart by semicolons': lines(lambda rows: [row.replace(',', ';') for row in rows]),
        'in UTF-16': lines(lambda rows: rows, 'utf-16'),
        'a null byte': line(2, 'img/\0.png,dog'),
        'one class': _one_class,
        'a line without an end': lines(lambda rows: [*rows, 'img/1.png,' + 'x' * 200_000]),
    },
    {'CustomImages': custom, 'a run': run_of_table},
    harmless=('columns apart by semicolons',),
    only=dict.fromkeys(MISSING, ('a run',)),
)


# Folders.


def write_folders(folder: Path) -> Path:
    root = folder / 'images'
    for split in ('train', 'val'):
        for label, name in enumerate(('cat', 'dog', 'owl')):
            for i in range(3):
                write_image(root / split / name / f'{i}.png', label)
    return root


def folders(path: Path, work: Path) -> Any:
    return {split: listed(CustomImages(str(path), split), path) for split in ('train', 'val')}


def within(name: str, make: Callable[[Path], Any]) -> Spoil:
    """Something else at that place, which an error or a warning names."""

    def spoil(path: Path, bait: Bait) -> Path:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        make(path / name)
        return path / name

    return spoil


def _emptied(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def _copy(path: Path) -> None:
    write_image(path, 0)


def _link(path: Path) -> None:
    path.symlink_to(path.parent / 'nothing')


FOLDERS = Kind(
    'folders of images',
    write_folders,
    {
        'not there': within('', lambda root: shutil.rmtree(root)),
        'no train': within('train', shutil.rmtree),
        'train is a file': within('train', lambda path: (shutil.rmtree(path), path.write_text('images'))),
        'train is empty': within('train', _emptied),
        'train links to nothing': within('train', lambda path: (shutil.rmtree(path), _link(path))),
        'an empty class': within('train/owl', _emptied),
        'a class of texts': within('train/owl', lambda path: (_emptied(path), (path / 'a.txt').write_text(''))),
        'a class only to validate': within('val/bat', lambda path: _copy(path / '0.png')),
        'an empty val': within('val', _emptied),
        'a pipe as an image': within('train/cat/pipe.png', os.mkfifo),
        'a folder as an image': within('train/cat/folder.png', Path.mkdir),
        'a link to nothing as an image': within('train/cat/link.png', _link),
        'what an editor leaves': within('train/.ipynb_checkpoints/0.png', _copy),
        'what a Mac leaves': within('train/cat/._0.png', lambda path: path.write_bytes(b'\0\5\x16\7')),
        'what a Mac packs': within('train/__MACOSX/cat/._0.png', lambda path: path.write_bytes(b'\0\5\x16\7')),
        'a sound among images': within('train/cat/a.mp3', lambda path: path.write_bytes(b'ID3')),
        'a folder linked to itself': within('train/cat/more', lambda path: path.symlink_to(path.parent)),
    },
    {'CustomImages': folders},
    harmless=(
        'a pipe as an image',
        'a folder as an image',
        'a link to nothing as an image',
        'what an editor leaves',
        'what a Mac leaves',
        'what a Mac packs',
        'a sound among images',
        'a folder linked to itself',
    ),
)


# VTAB-1k and FGVC.


def write_list(folder: Path) -> Path:
    return write_vtab(folder, 'kitti') / 'train800.txt'


def vtab(path: Path, work: Path) -> Any:
    return listed(BenchmarkTask(str(path.parent.parent), 'kitti'), path.parent)


def run_of_vtab(path: Path, work: Path) -> Any:
    return run(dict(type='BenchmarkTask', data_root=str(path.parent.parent), task='kitti'), 4, work)


LIST = Kind(
    'list of VTAB-1k',
    write_list,
    {
        **TEXT,
        'a line without a label': line(1, 'images/train800/000001.png'),
        'a line without an image': line(1, '1'),
        'a label that is a word': line(1, 'images/train800/000001.png car'),
        'a label too large': line(1, 'images/train800/000001.png 4'),
        'a negative label': line(1, 'images/train800/000001.png -1'),
        'a label of another script': line(1, 'images/train800/000001.png ²'),
        'apart by commas': line(1, 'images/train800/000001.png,1'),
        'an image that is not there': line(1, 'images/train800/99.png 1', '99.png'),
        'a folder as an image': line(1, 'images 1', 'images'),
        'in UTF-16': lines(lambda rows: rows, 'utf-16'),
        'a null byte': line(1, 'images/\0.png 1'),
    },
    {'BenchmarkTask': vtab, 'a run': run_of_vtab},
    only=dict.fromkeys(MISSING, ('a run',)),
)


def write_json(folder: Path) -> Path:
    return write_fgvc(folder, 'CUB', 'images') / 'train.json'


def fgvc(path: Path, work: Path) -> Any:
    return listed(BenchmarkTask(str(path.parent.parent), 'CUB'), path.parent)


def run_of_fgvc(path: Path, work: Path) -> Any:
    return run(dict(type='BenchmarkTask', data_root=str(path.parent.parent), task='CUB'), 200, work)


def entries(edit: Callable[[dict], Any], names: str = '') -> Spoil:
    """Other content of a file of JSON; an error names the file, or what the entry names."""

    def spoil(path: Path, bait: Bait) -> Path | None:
        found = json.loads(path.read_text())
        made = edit(found)
        path.write_text(json.dumps(found if made is None else made))
        return Path(names) if names else None

    return spoil


SPLIT = Kind(
    'split of FGVC',
    write_json,
    {
        **{name: spoil for name, spoil in BYTES.items() if name != 'JSON'},
        'a list': entries(lambda found: list(found.items())),
        'a number': entries(lambda found: 3),
        'no images': entries(dict.clear),
        'classes that are words': entries(lambda found: dict.fromkeys(found, 'bird')),
        'classes that are lists': entries(lambda found: {name: [1] for name in found}),
        'classes that are None': entries(lambda found: found.update({'train/0.png': None})),
        'a class and a half': entries(lambda found: found.update({'train/0.png': 1.5})),
        'a class that is true': entries(lambda found: found.update({'train/0.png': True})),
        'more classes than there are': entries(lambda found: {f'train/{i % 8}.png/{i}': i for i in range(300)}),
        'an image that is not there': entries(lambda found: found.update({'train/99.png': 1}), '99.png'),
        'a folder as an image': entries(lambda found: found.update({'train': 1}), 'train'),
        'nested without end': content(b'[' * 100_000),
        'a number without end': content(b'{"train/0.png": ' + b'9' * 10_000 + b'}'),
    },
    {'BenchmarkTask': fgvc, 'a run': run_of_fgvc},
    only=dict.fromkeys(MISSING, ('a run',)),
)


# CoOp's data sets.


def write_named(folder: Path) -> Path:
    return write_coop(folder, each=dict(train=1, val=1, test=1)) / 'split_zhou_EuroSAT.json'


def coop(path: Path, work: Path) -> Any:
    return listed(CoOpTask(str(path.parent.parent), 'coop_eurosat'), path.parent)


def run_of_coop(path: Path, work: Path) -> Any:
    return run(dict(type='CoOpTask', data_root=str(path.parent.parent), task='coop_eurosat'), 10, work)


def _entry(*entry: Any) -> Callable[[dict], None]:
    return lambda found: found['train'].__setitem__(0, list(entry))


NAMES = {
    **{name: spoil for name, spoil in BYTES.items() if name != 'JSON'},
    'a list': entries(lambda found: list(found.items())),
    'no val': entries(lambda found: found.pop('val') and None),
    'a split that is a dict': entries(lambda found: found.update(test={})),
    'no images': entries(lambda found: found.update(train=[], val=[], test=[])),
    'an entry of two': entries(_entry('kind_000/train_0.png', 0)),
    'an entry that is a text': entries(lambda found: found['train'].__setitem__(0, 'abc')),
    'a label that is a text': entries(_entry('kind_000/train_0.png', '0', 'kind_0')),
    'a label that is true': entries(_entry('kind_001/train_0.png', True, 'kind_1')),
    'a label too large': entries(_entry('kind_000/train_0.png', 10, 'kind_10')),
    'a negative label': entries(_entry('kind_000/train_0.png', -1, 'kind_0')),
    'no name': entries(_entry('kind_000/train_0.png', 0, '')),
    'two names for a label': entries(_entry('kind_000/train_0.png', 0, 'other')),
    'names for 9 labels': entries(lambda found: [part.pop() for part in found.values()] and None),
    'an image that is not there': entries(_entry('kind_000/99.png', 0, 'kind_0'), '99.png'),
    'a folder as an image': entries(_entry('kind_000', 0, 'kind_0'), 'kind_000'),
    'nested without end': content(b'[' * 100_000),
}
NAMED = Kind(
    'split of CoOp',
    write_named,
    NAMES,
    {'CoOpTask': coop, 'a run': run_of_coop},
    only={name: ('a run',) if name in MISSING else ('CoOpTask',) for name in NAMES},
)


# Records of subsets.


def write_record(folder: Path) -> Path:
    root = write_table(folder).parent
    CustomImages(str(root), subset=dict(shots=2, record=str(root / 'drawn.json')))
    return root / 'drawn.json'


def subset(path: Path, work: Path) -> Any:
    return listed(CustomImages(str(path.parent), subset=dict(shots=2, record=str(path))), path.parent)


RECORD = Kind(
    'record of a subset',
    write_record,
    {
        **{name: spoil for name, spoil in BYTES.items() if name not in NO_FILES},  # without one it is written
        'a list': entries(lambda found: [1, 2]),
        'no indices': entries(lambda found: found.pop('indices') and None),
        'no images': entries(lambda found: found.pop('images') and None),
        'indices that are words': entries(lambda found: found.update(indices=['a', 'b', 'c', 'd'])),
        'indices that are a number': entries(lambda found: found.update(indices=3)),
        'indices out of range': entries(lambda found: found.update(indices=[0, 1, 2, 99])),
        'negative indices': entries(lambda found: found.update(indices=[0, 1, 2, -1])),
        'fewer indices': entries(lambda found: found['indices'].pop() and None),
        'fractions of indices': entries(lambda found: found.update(indices=[i + 0.5 for i in found['indices']])),
        'no images at all': entries(lambda found: found.update(indices=[], images=[])),
        'an image twice': entries(
            lambda found: found.update(indices=found['indices'][:1] * 2, images=found['images'][:1] * 2)
        ),
        'images of another data set': entries(lambda found: found.update(images=['a', 'b', 'c', 'd'])),
        'images that are numbers': entries(lambda found: found.update(images=[0, 1, 2, 3])),
        'nested without end': content(b'[' * 100_000),
    },
    {'Subset(record=)': subset},
)
