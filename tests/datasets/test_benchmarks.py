"""24 tasks, one class: what is read, what is left on disk, and what is said of a folder that is not as it should be."""

import json
import os
from pathlib import Path

import pytest
from mmengine.config import Config
from mmpretrain.registry import DATASETS
from suites import write_fgvc, write_vtab

from vptx.datasets import TASKS, BenchmarkTask, set_task
from vptx.datasets.benchmarks import BENCHMARKS


def items(data: BenchmarkTask) -> list[tuple[str, int]]:
    infos = [data.get_data_info(i) for i in range(len(data))]
    return [(info['img_path'], info['gt_label']) for info in infos]


def test_the_table_is_that_of_the_papers():
    groups = [task.group for task in BENCHMARKS.values()]
    assert [groups.count(g) for g in ('Natural', 'Specialized', 'Structured', 'FGVC')] == [7, 4, 8, 5]
    assert sum(task.classes for task in TASKS.values() if task.suite == 'vtab') == 940
    assert all(task.sizes[:2] == (800, 200) for task in TASKS.values() if task.suite == 'vtab')


def test_vtab(tmp_path):
    folder = write_vtab(tmp_path, 'kitti')
    data = {split: BenchmarkTask(str(tmp_path), 'kitti', split) for split in BenchmarkTask.SPLITS}
    assert [len(data[split]) for split in ('train', 'val', 'trainval', 'test')] == [8, 4, 12, 6]
    assert items(data['trainval']) == items(data['train']) + items(data['val'])
    assert not set(items(data['trainval'])) & set(items(data['test']))
    assert items(data['val'])[3] == (str(folder / 'images/val200/000003.png'), 3)
    assert data['test'].metainfo['classes'] == ('0', '1', '2', '3')


def test_vtab_through_both_pipelines(tmp_path):
    write_vtab(tmp_path, 'kitti')
    for resize, dtype in (
        (dict(type='LegacyResize', scale=24), 'torch.float32'),
        (dict(type='Resize', scale=(24, 24), interpolation='bicubic', backend='pillow'), 'torch.uint8'),
    ):
        pipeline = [dict(type='LoadImageFromFile'), resize, dict(type='PackInputs')]
        item = BenchmarkTask(str(tmp_path), 'kitti', 'val', pipeline=pipeline)[2]
        assert item['inputs'].shape == (3, 24, 24) and str(item['inputs'].dtype) == dtype
        assert item['data_samples'].gt_label.item() == 2


def test_images_are_read_when_they_are_asked_for(tmp_path):
    """A test split of VTAB-1k takes up to 41 GB as numbers: nothing but names is held."""
    lines = [f'images/test/{i}.jpg {i % 4}' for i in range(2000)]
    (tmp_path / 'kitti').mkdir()
    (tmp_path / 'kitti' / 'test.txt').write_text('\n'.join(lines))
    data = BenchmarkTask(str(tmp_path), 'kitti', 'test', pipeline=[dict(type='LoadImageFromFile')])
    assert len(data) == 2000 and data.data_bytes.nbytes < 2000 * 1000
    with pytest.raises(ValueError, match=r'images/test/1999\.jpg cannot be read as an image'):
        data[1999]


@pytest.mark.parametrize(('task', 'images'), [('CUB', 'images'), ('StanfordDogs', 'Images'), ('StanfordCars', '')])
def test_fgvc(tmp_path, task, images):
    folder = write_fgvc(tmp_path, task, images)
    data = {split: BenchmarkTask(str(tmp_path), task, split) for split in BenchmarkTask.SPLITS}
    assert [len(data[split]) for split in ('train', 'val', 'trainval', 'test')] == [8, 4, 12, 6]
    assert items(data['test'])[:3] == [(str(folder / images / f'test/{i}.png'), i) for i in range(3)]
    assert all(Path(path).is_file() for part in data.values() for path, _ in items(part))


def test_fgvc_numbers_classes_alike_in_every_split(tmp_path):
    """The public code numbers the classes of each split anew: one that lacks a class shifts all that follow."""
    folder = write_fgvc(tmp_path, 'CUB', 'images')
    (folder / 'test.json').write_text(json.dumps({'test/0.png': 3, 'test/1.png': 7}))
    assert [label for _, label in items(BenchmarkTask(str(tmp_path), 'CUB', 'test'))] == [1, 2]
    (folder / 'test.json').write_text(json.dumps({'test/0.png': 4}))
    with pytest.raises(ValueError, match=r'test\.json has images of class 4, which nothing can be learnt of'):
        len(BenchmarkTask(str(tmp_path), 'CUB', 'test'))


@pytest.mark.parametrize(
    ('task', 'file', 'hint'), [('svhn', 'val200.txt', 'ZhangYuanhan-AI/NOAH'), ('CUB', 'val.json', 'KMnP/vpt')]
)
def test_what_is_missing_is_named_with_its_place_and_where_to_get_it(tmp_path, task, file, hint):
    with pytest.raises(FileNotFoundError) as caught:
        BenchmarkTask(str(tmp_path), task, 'val')
    missing = 'train.json' if task == 'CUB' else file
    for part in (task, str(tmp_path / task / missing), hint):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    'line',
    ['images/0.png', 'images/0.png 4', 'images/0.png -1', 'images/0.png one', '3', 'images/0.png ²'],
)
def test_a_bad_line_is_named(tmp_path, line):
    folder = write_vtab(tmp_path, 'kitti')
    (folder / 'test.txt').write_text(f'images/test/000000.png 0\n\n{line}\n')
    with pytest.raises(ValueError, match=r"test\.txt, line 3: '.*' is no image and class from 0 to 3"):
        BenchmarkTask(str(tmp_path), 'kitti', 'test')


@pytest.mark.parametrize(
    'content',
    ['[1, 2]', '{"a.png": "bird"}', '{"a.png"', 'null', '{}', '{"a.png": 1.5}', '{"a.png": true}', '[' * 100_000],
)
def test_a_bad_split_of_fgvc_is_named(tmp_path, content):
    folder = write_fgvc(tmp_path, 'CUB', 'images')
    (folder / 'val.json').write_text(content)
    with pytest.raises(ValueError, match=r'val\.json (is no split of FGVC|cannot be read: .*JSON)'):
        BenchmarkTask(str(tmp_path), 'CUB', 'val')


def test_no_list_and_no_text(tmp_path):
    folder = write_vtab(tmp_path, 'kitti')
    (folder / 'test.txt').write_text('\n')
    with pytest.raises(ValueError, match=r'test\.txt names no images'):
        BenchmarkTask(str(tmp_path), 'kitti', 'test')
    (folder / 'test.txt').unlink()
    os.mkfifo(folder / 'test.txt')
    with pytest.raises(FileNotFoundError, match=r'there is no .*test\.txt'):
        BenchmarkTask(str(tmp_path), 'kitti', 'test')
    (folder / 'test.txt').unlink()
    for content in (b'\xff\xd8\xff', b'images/\0.png 1'):
        (folder / 'test.txt').write_bytes(content)
        with pytest.raises(ValueError, match=r'test\.txt is no text file'):
            BenchmarkTask(str(tmp_path), 'kitti', 'test')


def test_too_many_classes(tmp_path):
    write_fgvc(tmp_path, 'OxfordFlowers', '', ids=tuple(range(8)))
    few = BENCHMARKS['OxfordFlowers']._replace(classes=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BENCHMARKS, 'OxfordFlowers', few)
        with pytest.raises(ValueError, match=r'has 8 classes in train\.json and val\.json, not 7'):
            BenchmarkTask(str(tmp_path), 'OxfordFlowers', 'val')


def test_unknown_task_and_split(tmp_path):
    with pytest.raises(ValueError, match=r"there is no task 'cub'\. There are: cifar, "):
        DATASETS.build(dict(type='BenchmarkTask', data_root=str(tmp_path), task='cub'))
    with pytest.raises(ValueError, match="'train', 'val', 'trainval', 'test', got 'train800'"):
        BenchmarkTask(str(tmp_path), 'kitti', 'train800')


def test_set_task():
    def loader(**dataset):
        return dict(dataset=dict(dict(type='BenchmarkTask', task='cifar'), **dataset))

    config = Config(
        dict(
            model=dict(head=dict(num_classes=100)),
            train_dataloader=loader(),
            val_dataloader=loader(),
            test_dataloader=loader(),
        )
    )
    set_task(config, 'dmlab')
    assert {config[f'{n}_dataloader'].dataset.task for n in ('train', 'val', 'test')} == {'dmlab'}
    assert config.model.head.num_classes == 6
    with pytest.raises(ValueError, match="'CUB' is a task of fgvc, this config is for vtab"):
        set_task(config, 'CUB')
    config.test_dataloader.dataset.type = 'Digits'
    with pytest.raises(ValueError, match='test_dataloader of this config shows Digits'):
        set_task(config, 'svhn')
