"""Digits: splits fixed for good, balanced, neither trivial nor impossible."""

import pickle
import sys
from collections import Counter

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from vptx.datasets import Digits


def rows(split, **kwargs):
    return Digits(split, lazy_init=True, **kwargs).rows(load_digits().target).tolist()


def test_splits_part_the_whole():
    train, val, test = (rows(split, num_train=400) for split in ('train', 'val', 'test'))
    assert (len(train), len(val), len(test)) == (400, 200, 1197)
    assert sorted(train + val + test) == list(range(1797))
    assert rows('trainval', num_train=400) == train + val


def test_splits_are_fixed_for_good():
    """Published numbers rest on them."""
    assert rows('train')[:5] == [1716, 1546, 1437, 799, 1411]
    assert rows('val')[:5] == [1205, 1377, 75, 985, 380]
    assert rows('test')[:5] == [1236, 1425, 676, 1283, 1745]


def test_fewer_are_a_balanced_part_of_more():
    many = rows('train', num_train=400)
    for few in (1, 10, 35, 100):
        assert rows('train', num_train=few) == many[:few]
        counts = Counter(load_digits().target[many[:few]].tolist())
        assert max(counts.values()) - min(counts.get(digit, 0) for digit in range(10)) <= 1
    assert rows('test', num_train=10) == rows('test')


@pytest.mark.parametrize('size', [8, 32, 64])
def test_items(size):
    data = Digits('val', size=size)
    item = data[13]
    assert item['img'].shape == (size, size, 3) and item['img'].dtype == np.uint8 and item['gt_label'] == 3
    assert data.metainfo['classes'] == tuple('0123456789') and len(data) == 200
    assert (item['img'] == item['img'][..., :1]).all()
    if size == 8:  # as scikit-learn has it, but for the range
        original = load_digits().images[rows('val')[13]]
        np.testing.assert_array_equal(item['img'][..., 0], np.round(original * 255 / 16))
    assert (pickle.loads(pickle.dumps(data))[13]['img'] == item['img']).all()


def test_neither_trivial_nor_impossible():
    """What a linear classifier of raw pixels reaches on the test images."""

    def pixels(data):
        return data.images[..., 0].reshape(len(data), -1) / 255

    test = Digits('test', size=8)
    for few, low, high in ((10, 0.6, 0.8), (100, 0.82, 0.92), (400, 0.92, 0.96)):
        train = Digits(num_train=few, size=8)
        model = LogisticRegression(max_iter=200).fit(pixels(train), train.labels)
        assert low < model.score(pixels(test), test.labels) < high


def test_crowded():
    """Each digit several times, never twice the same, in the middle of others of its split; alike from run to run."""
    data, alone = Digits('val', crowded=2), Digits('val')
    assert data.images.shape == (400, 64, 64, 3) and data.images.dtype == np.uint8
    np.testing.assert_array_equal(data.labels, np.tile(alone.labels, 2))
    assert len({image.tobytes() for image in data.images}) == 400
    np.testing.assert_array_equal(data.images, Digits('val', crowded=2).images)
    assert data.images[..., :8, :].mean() > 4 * alone.images[..., :8, :].mean()  # neighbours at the sides
    small = Digits('val', crowded=2, size=32).images.astype(float)
    halved = data.images.reshape(400, 32, 2, 32, 2, 3).mean((2, 4))
    assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.98  # the same views in fewer pixels


def test_crowded_is_hard_for_raw_pixels():
    train, test = Digits(num_train=400, crowded=2, size=16), Digits('test', crowded=1, size=16)
    train, test = ((data.images[..., 0].reshape(len(data), -1) / 255, data.get_gt_labels()) for data in (train, test))
    assert 0.15 < LogisticRegression(max_iter=300).fit(*train).score(*test) < 0.6


def test_crowded_cannot_be_negative():
    with pytest.raises(ValueError, match='crowded must be 0'):
        Digits(crowded=-1)


def test_unknown_split_lists_the_splits():
    with pytest.raises(ValueError, match="'train', 'val', 'test', 'trainval', got 'valid'"):
        Digits('valid')


@pytest.mark.parametrize('num_train', [0, -5, 401])
def test_impossible_number_of_images(num_train):
    with pytest.raises(ValueError, match=r'num_train must be in 1\.\.400'):
        Digits(num_train=num_train)


def test_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(ImportError, match=r'scikit-learn: pip install vptx\[mini\]'):
        Digits()


def test_images_are_drawn_once_in_a_process(monkeypatch):
    first = Digits('val', crowded=1, size=32)
    other = Digits('val', crowded=1, size=40)
    monkeypatch.setattr(Digits, '_draw', lambda self: pytest.fail('drawn again'))
    assert Digits('val', crowded=1, size=32).images is first.images
    assert other.images.shape[1] == 40
    first[0]['img'][:] = 0  # an item is a copy
    assert first[0]['img'].any()
