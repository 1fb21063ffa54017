"""Formula-driven images: determined by their arguments, rendered once, shared and never half written."""

import copy
import io
import pickle
from collections import Counter

import numpy as np
import pytest

from vptx.datasets import FormulaImages
from vptx.datasets.mini import formula
from vptx.datasets.mini.formula import CYCLE, NUM_CATEGORIES, family, render
from vptx.registry import DATASETS

SMALL = dict(num_categories=16, instances=3, size=16)


def test_render_is_wholly_determined_by_its_arguments():
    for category in range(16):
        image = render(category, 3)
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        formula.drawer.cache_clear()  # the memory of categories must not matter
        np.testing.assert_array_equal(image, render(category, 3))
        assert (image != render(category, 4)).any()
        assert (image != render(category, 3, seed=1)).any()
        assert (image != render((category + 8) % 16, 3)).any()


@pytest.mark.parametrize('size', [8, 33, 112])
def test_every_family_draws_every_size(size):
    for category in range(len(CYCLE)):
        assert render(category, 0, size).shape == (size, size, 3)


def test_every_category_shows_something():
    """Neither an empty nor a full image, whatever the jitter: alpha varies."""
    for category in range(NUM_CATEGORIES):
        draw = formula.drawer(category, 0)
        for instance in range(3):
            alpha = draw(np.random.default_rng(instance), 64)
            assert alpha.shape == (64, 64) and alpha.min() >= 0 and alpha.max() <= 1
            assert alpha.std() > 0.05 and 0.005 < alpha.mean() < 0.99, (category, family(category), instance)


def test_families_are_dealt_evenly():
    whole, part = (Counter(family(c) for c in range(n)) for n in (NUM_CATEGORIES, NUM_CATEGORIES // 3))
    assert set(whole) == set(formula._FAMILIES) and whole['glyph'] == 90 and whole['fractal'] == 30
    assert {name: count / 3 for name, count in whole.items()} == part


def test_fractals_contract():
    """Also when an instance turns and scales the maps, so that players never run away."""
    for category in (c for c in range(NUM_CATEGORIES) if family(c) == 'fractal'):
        norms = np.linalg.norm(formula.drawer(category, 0).matrices, ord=2, axis=(1, 2))
        assert norms.max() * 1.08 < 1


@pytest.mark.parametrize('category, size', [(-1, 64), (NUM_CATEGORIES, 64), (0, 7)])
def test_render_refuses(category, size):
    with pytest.raises(ValueError, match='must be'):
        render(category, 0, size)


def test_items_are_renders(tmp_path):
    train = FormulaImages(**SMALL, cache_dir=tmp_path)
    assert len(train) == 48 and Counter(train.get_gt_labels().tolist()) == dict.fromkeys(range(16), 3)
    assert len(train.metainfo['classes']) == 16 and train.metainfo['classes'][1] == 'fractal_001'
    for row in (0, 17, 47):
        item = train[row]
        assert item['gt_label'] == row % 16 and item['sample_idx'] == row
        np.testing.assert_array_equal(item['img'], render(row % 16, row // 16, 16)[..., ::-1])  # BGR
    item['img'][:] = 0  # a transform may write: it has a copy
    assert train[47]['img'].any() and train[-1]['sample_idx'] == 47


def test_splits_are_disjoint(tmp_path):
    first, limit = FormulaImages.FIRST, FormulaImages.FIRST['val']
    with pytest.raises(ValueError, match='too large'):  # a training set never reaches validation's numbers
        FormulaImages(instances=limit + 1, cache_dir=tmp_path)
    assert first['train'] + limit <= first['val']
    train, val = (FormulaImages(**SMALL, split=split, cache_dir=tmp_path) for split in ('train', 'val'))
    assert not {i.tobytes() for i in train.images} & {i.tobytes() for i in val.images}
    np.testing.assert_array_equal(val[16]['img'], render(0, limit + 1, 16)[..., ::-1])


def test_cache_is_reused(tmp_path, monkeypatch):
    before = FormulaImages(**SMALL, cache_dir=tmp_path)
    monkeypatch.setattr(formula, 'render', None)  # calling it now fails
    after = FormulaImages(**SMALL, cache_dir=tmp_path)
    assert isinstance(after.images, np.memmap)
    np.testing.assert_array_equal(before.images, after.images)
    assert [p.name for p in tmp_path.iterdir()] == ['formula_v1_seed0_train_16x3_16px.npy']


def test_cache_is_keyed_by_all_that_matters(tmp_path, monkeypatch):
    def cache_file(**change):
        return FormulaImages(**SMALL | change, cache_dir=tmp_path, lazy_init=True).cache_file

    changes = [{}, dict(num_categories=8), dict(instances=2), dict(split='val'), dict(seed=1), dict(size=8)]
    files = {cache_file(**change) for change in changes}
    monkeypatch.setattr(formula, 'VERSION', formula.VERSION + 1)
    assert len(files | {cache_file()}) == len(changes) + 1


def test_cache_is_whole_or_absent(tmp_path, monkeypatch):
    data = FormulaImages(**SMALL, cache_dir=tmp_path, lazy_init=True)

    def fail_midway(category, instance, size, seed):
        assert not data.cache_file.exists()
        if (category, instance) == (7, 1):
            raise KeyboardInterrupt
        return render(category, instance, size, seed)

    with monkeypatch.context() as patch:
        patch.setattr(formula, 'render', fail_midway)
        with pytest.raises(KeyboardInterrupt):
            data.full_init()
    assert list(tmp_path.iterdir()) == []
    data.full_init()
    assert len(data) == 48


def test_main_process_renders_while_others_wait(tmp_path, monkeypatch):
    other = FormulaImages(**SMALL, cache_dir=tmp_path, lazy_init=True)
    monkeypatch.setattr(formula.dist, 'is_main_process', lambda: False)

    def main_process_meanwhile():
        assert not other.cache_file.exists()
        other._render_all()
        monkeypatch.setattr(formula, 'render', None)  # the one that waited must not render

    monkeypatch.setattr(formula.dist, 'barrier', main_process_meanwhile)
    other.full_init()
    assert len(other) == 48


def test_machines_that_share_no_disk_render_for_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(formula.dist, 'is_main_process', lambda: False)
    assert len(FormulaImages(**SMALL, cache_dir=tmp_path)) == 48


def test_processes_render_what_one_does(tmp_path):
    one, two = (FormulaImages(instances=5, size=8, workers=n, cache_dir=tmp_path / str(n)) for n in (1, 2))
    assert one.cache_file.read_bytes() == two.cache_file.read_bytes()


def array_bytes(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_a_broken_or_foreign_file_is_refused(tmp_path):
    file = FormulaImages(**SMALL, cache_dir=tmp_path).cache_file
    whole = file.read_bytes()
    for other in (whole[:-1], b'', whole[:10], array_bytes(np.zeros(3)), array_bytes(np.array([{}]))):
        file.write_bytes(other)
        with pytest.raises(ValueError, match='remove it'):
            FormulaImages(**SMALL, cache_dir=tmp_path)


def test_default_cache_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert FormulaImages(lazy_init=True).cache_file.parent == tmp_path / 'vptx'
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert FormulaImages(lazy_init=True).cache_file.parent == type(tmp_path).home() / '.cache' / 'vptx'


def test_pixels_are_never_copied_or_pickled(tmp_path):
    data = FormulaImages(**SMALL, cache_dir=tmp_path)
    part = data.get_subset([40, 3])
    assert part.images is data.images and [part[i]['gt_label'] for i in (0, 1)] == [8, 3]
    assert len(data.get_subset(5)) == 5 and len(FormulaImages(**SMALL, cache_dir=tmp_path, indices=7)) == 7
    assert part.get_gt_labels().tolist() == [8, 3] and part.get_cat_ids(0) == [8]
    assert len(pickle.dumps(data)) < data.images.nbytes / 5
    for twin in (pickle.loads(pickle.dumps(data)), copy.deepcopy(data)):
        assert isinstance(twin.images, np.memmap)
        np.testing.assert_array_equal(twin[9]['img'], data[9]['img'])


def test_pipeline_and_registry(tmp_path):
    pipeline = [dict(type='PackInputs')]
    item = DATASETS.build(dict(type='FormulaImages', **SMALL, cache_dir=str(tmp_path), pipeline=pipeline))[20]
    assert item['inputs'].shape == (3, 16, 16) and item['data_samples'].gt_label.item() == 4


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(split='test'), "one of 'train', 'val', got 'test'"),
        (dict(num_categories=0), 'num_categories must be in'),
        (dict(num_categories=NUM_CATEGORIES + 1), 'num_categories must be in'),
        (dict(instances=0), 'empty'),
    ],
)
def test_bad_arguments(wrong, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        FormulaImages(**SMALL | wrong, cache_dir=tmp_path)
