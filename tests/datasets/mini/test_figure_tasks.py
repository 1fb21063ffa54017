"""Tasks of figures with names: balanced, the same everywhere, half of the pairs unseen by CLIP-mini in either half."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from vptx.datasets import FigureTask
from vptx.datasets.mini import figure_tasks
from vptx.datasets.mini.figures import is_held_out
from vptx.registry import DATASETS

CONFIGS = Path(__file__).parents[3] / 'configs/_base_/tasks'


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(FigureTask, 'SIZES', dict(train=40, val=20, test=60))


def test_both_halves_have_as_many_unseen_pairs_and_the_same_textures():
    names = FigureTask.METAINFO['classes']
    assert len(set(names)) == 20
    halves = [[name.split() for name in half] for half in (names[:10], names[10:])]
    for half in halves:
        assert sum(is_held_out(shape, None, texture) for texture, shape in half) == 5
        assert set(Counter(texture for texture, _ in half).values()) == {2}
    assert not {shape for _, shape in halves[0]} & {shape for _, shape in halves[1]}


@pytest.mark.parametrize('task', figure_tasks.TASKS)
def test_splits(task, small):
    train, val, test, both = (FigureTask(task, split) for split in ('train', 'val', 'test', 'trainval'))
    assert [len(data) for data in (train, val, test, both)] == [40, 20, 60, 60]
    assert set(Counter(test.get_gt_labels().tolist()).values()) == {3}
    assert len({image.tobytes() for data in (train, val, test) for image in data.images}) == 120
    figure_tasks._draw_all.cache_clear()
    np.testing.assert_array_equal(test.images, FigureTask(task, 'test').images)
    assert (FigureTask(task, 'val', seed=1).images != val.images).any(axis=(1, 2, 3)).all()
    assert train.CLASSES == figure_tasks.FIGURE_CLASSES


def test_the_styles_differ(small):
    grey = [
        np.ptp(FigureTask(task, 'val').images.astype(int), axis=-1).mean() for task in ('figures', 'mosaic', 'relief')
    ]
    assert min(grey[:2]) > 20 and grey[2] < 1


def test_few_shots_are_recorded(tmp_path, small):
    record = tmp_path / 'shots.json'
    one = FigureTask('figures', subset=dict(shots=1, seed=3, record=str(record)))
    two = FigureTask('figures', subset=dict(shots=2, seed=3))
    assert len(one) == 20 and Counter(two.get_gt_labels().tolist()) == dict.fromkeys(range(20), 2)
    assert {image.tobytes() for image in one.images} <= {image.tobytes() for image in two.images}
    assert record.is_file()


def test_base_and_new_classes(small):
    shots = dict(shots=2, seed=3)
    whole, base, new = (FigureTask(split='train', part=part, subset=shots) for part in ('all', 'base', 'new'))
    assert base.CLASSES + new.CLASSES == whole.CLASSES and len(base.CLASSES) == 10
    is_new = whole.get_gt_labels() >= 10
    np.testing.assert_array_equal(base.images, whole.images[~is_new])
    np.testing.assert_array_equal(new.images, whole.images[is_new])
    np.testing.assert_array_equal(new.get_gt_labels(), whole.get_gt_labels()[is_new] - 10)


@pytest.mark.parametrize('task', figure_tasks.TASKS)
def test_configs(task, small):
    config = Config.fromfile(CONFIGS / f'mini_{task}.py')
    for name in ('val', 'test'):
        data = config[f'{name}_dataloader'].dataset
        assert (data.task, data.split) == (task, name)
        assert len(DATASETS.build(dict(data, pipeline=[]))) == FigureTask.SIZES[name]
    assert config.train_dataloader.dataset.subset == dict(shots=16)


@pytest.mark.parametrize(
    'wrong, message', [(dict(task='stamps'), 'no task'), (dict(split='dev'), 'split'), (dict(part='old'), 'part')]
)
def test_bad_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        FigureTask(**wrong)
