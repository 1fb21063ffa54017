"""Photo patches: splits from disjoint pixels of every photograph, fixed by the seed, balanced."""

import socket
import sys
from collections import Counter
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import maximum_filter

from vptx.datasets import PhotoPatches
from vptx.datasets.mini.photo_patches import MARGIN, PHOTOGRAPHS, draw_box, tiles

SMALL = dict(num_train=34, num_val=17, num_test=51, size=32)


def sizes():
    return [Image.open(str(files('skimage') / 'data' / name)).size[::-1] for name in PHOTOGRAPHS.values()]


@pytest.mark.parametrize('height, width', sizes(), ids=list(PHOTOGRAPHS))
def test_splits_are_disjoint_pixels(height, width):
    """No pixel that patches of one split may show is nearer than 2 * MARGIN pixels to another split's."""
    masks = []
    for split in ('train', 'val', 'test'):
        mask = np.zeros((height, width), np.uint8)
        for left, top, right, bottom in tiles(height, width, split):
            mask[top:bottom, left:right] = 1
        # Each grows by MARGIN pixels to each side, so that 2 * MARGIN pixels part those that do not meet.
        masks.append(maximum_filter(mask, 2 * MARGIN + 1))
        rng = np.random.default_rng(0)
        for _ in range(100):
            left, top, right, bottom = draw_box(rng, height, width, split)
            assert right - left == bottom - top and 36 <= right - left <= 64
            assert mask[top:bottom, left:right].all() and 0 <= left and right <= width and bottom <= height
    assert np.sum(masks, axis=0).max() == 1
    assert np.mean(masks[0]) > 0.35 and min(np.mean(masks[1]), np.mean(masks[2])) > 0.15


def test_same_arguments_same_patches():
    one, two = PhotoPatches(**SMALL), PhotoPatches(**SMALL)
    np.testing.assert_array_equal(one.images, two.images)
    assert (one.images != PhotoPatches(**SMALL, seed=1).images).any(axis=(1, 2, 3)).all()


def test_sets_are_nested_and_joined():
    train, val = (PhotoPatches(split, **SMALL) for split in ('train', 'val'))
    both = PhotoPatches('trainval', **SMALL)
    np.testing.assert_array_equal(both.images, np.concatenate([train.images, val.images]))
    np.testing.assert_array_equal(both.labels, np.concatenate([train.labels, val.labels]))
    fewer = PhotoPatches(**SMALL | dict(num_train=20, num_test=1))
    np.testing.assert_array_equal(fewer.images, train.images[:20])


def test_items_are_balanced_and_grey():
    data = PhotoPatches('test', **SMALL)
    assert Counter(data.get_gt_labels().tolist()) == dict.fromkeys(range(17), 3)
    assert len(data.metainfo['classes']) == 17 >= 10 and data[20]['gt_label'] == 3
    item = data[20]['img']
    assert item.shape == (32, 32, 3) and item.dtype == np.uint8 and (item == item[..., :1]).all()
    colour = PhotoPatches('test', **SMALL, grey=False)
    assert (colour.images != colour.images[..., :1]).any(axis=(1, 2, 3)).mean() > 0.4


def test_brightness_tells_nothing_and_no_patch_is_featureless():
    images = PhotoPatches(num_train=340).images[..., 0].astype(float)
    spread = images.std(axis=(1, 2))
    assert np.quantile(spread, 0.01) > 3
    means = images.mean((1, 2)).reshape(20, 17).mean(0)
    assert np.ptp(means) < 25  # of classes, where the photographs' own differ by far more


def test_nothing_is_downloaded(monkeypatch):
    """The files lie in the wheel; skimage.data, which may fetch, is never asked."""
    monkeypatch.setattr(socket, 'socket', None)
    monkeypatch.delitem(sys.modules, 'skimage.data', raising=False)
    assert len(PhotoPatches(**SMALL)) == 34
    assert 'skimage.data' not in sys.modules


def test_bad_arguments():
    with pytest.raises(ValueError, match="'train', 'val', 'test', 'trainval', got 'all'"):
        PhotoPatches('all')
    for count in ('num_train', 'num_val', 'num_test'):
        with pytest.raises(ValueError, match='empty'):
            PhotoPatches(**{count: 0})


def test_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'skimage', None)
    with pytest.raises(ImportError, match=r'scikit-image: pip install vptx\[mini\]'):
        PhotoPatches(**SMALL)
