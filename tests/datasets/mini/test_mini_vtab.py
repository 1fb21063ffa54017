"""The mini VTAB: three groups, balanced, the same everywhere, nothing shown twice, neither trivial nor impossible."""

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from numpy.random import default_rng
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from vptx.datasets import TASKS, MiniVTAB, set_task
from vptx.datasets.mini import mini_vtab
from vptx.datasets.mini.mini_vtab import MINI_VTAB, SPLITS


@cache
def drawn(task: str, split: str, number: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """The first images of a split, which is the data set's own way to make them."""
    place = list(MINI_VTAB).index(task), SPLITS.index(split)
    found = [MINI_VTAB[task].draw(default_rng([0, *place, i]), split, i) for i in range(number)]
    return np.stack([image for image, _ in found]), np.array([label for _, label in found])


@pytest.fixture
def small(monkeypatch):
    for name, task in MINI_VTAB.items():
        monkeypatch.setitem(MINI_VTAB, name, task._replace(sizes=(40, 20, 30)))
    mini_vtab._draw_all.cache_clear()
    yield
    mini_vtab._draw_all.cache_clear()


def test_the_table():
    assert Counter(task.group for task in MINI_VTAB.values()) == dict(Natural=3, Specialized=3, Structured=4)
    assert {task.sizes for task in MINI_VTAB.values()} == {(200, 100, 500)}
    assert {name for name, task in TASKS.items() if task.suite == 'mini'} == set(MINI_VTAB)


@pytest.mark.parametrize('task', MINI_VTAB)
def test_splits(task, small):
    train, val, test, both = (MiniVTAB(task, split) for split in ('train', 'val', 'test', 'trainval'))
    assert [len(data) for data in (train, val, test, both)] == [40, 20, 30, 60]
    np.testing.assert_array_equal(both.images, np.concatenate([train.images, val.images]))
    np.testing.assert_array_equal(train.images, drawn(task, 'train')[0][:40])
    assert len({image.tobytes() for data in (train, val, test) for image in data.images}) == 90  # none is there twice
    item = test[7]
    assert item['img'].shape == (64, 64, 3) and item['img'].dtype == np.uint8 and item['gt_label'] == test.labels[7]
    assert len(test.metainfo['classes']) == MINI_VTAB[task].classes
    assert (MiniVTAB(task, 'val', seed=1).images != val.images).any(axis=(1, 2, 3)).all()


def test_no_written_digit_is_in_two_splits():
    written = mini_vtab._written()
    assert [len(written[split]) for split in SPLITS] == [800, 200, 797]
    shown = sorted((image * 16).tobytes() for split in SPLITS for image, _ in written[split])
    assert shown == sorted(image.tobytes() for image in load_digits().images)  # each in one split, once


@pytest.mark.parametrize('task', MINI_VTAB)
def test_neither_trivial_nor_impossible(task):
    """What a support vector machine reaches on 16 by 16 grey pixels, as distances from their median."""

    def pixels(images):
        small = [Image.fromarray(image).convert('L').resize((16, 16)) for image in images]
        flat = np.stack([np.asarray(image, float) for image in small]).reshape(len(images), -1) / 255
        return abs(flat - np.median(flat, axis=1, keepdims=True))

    (images, labels), (tests, wanted) = drawn(task, 'train'), drawn(task, 'test')
    share = np.bincount(wanted, minlength=MINI_VTAB[task].classes) / len(wanted)
    assert share.min() > 0.5 / len(share) and share.max() < 1.5 / len(share)
    accuracy = SVC(C=10).fit(pixels(images), labels).score(pixels(tests), wanted)
    assert accuracy > 1.2 / len(share) and accuracy < 0.9


def test_few_shots(small):
    few = MiniVTAB('mini_count', 'train', subset=dict(shots=2, seed=1))
    assert Counter(few.get_gt_labels().tolist()) == dict.fromkeys(range(8), 2)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"there is no task 'mini_cats'\. There are: mini_digits, "):
        MiniVTAB('mini_cats')
    with pytest.raises(ValueError, match="split must be one of 'train', "):
        MiniVTAB('mini_digits', 'all')


def test_a_config_is_pointed_at_a_task():
    config = Config.fromfile(Path(__file__).parents[3] / 'configs/mini_vtab/linear.py')
    set_task(config, 'mini_tissue')
    assert config.model.head.num_classes == 4 and config.test_dataloader.dataset.task == 'mini_tissue'
    with pytest.raises(ValueError, match="'cifar' is a task of vtab, this config is for mini"):
        set_task(config, 'cifar')
