"""Subsets are balanced, nested, told by their seed, and what was drawn is written down."""

import json
from itertools import pairwise

import pytest
from suites import write_vtab

from vptx.datasets import BenchmarkTask, Subset

IMAGES = [(f'{i}.png', i % 3) for i in range(60)]


@pytest.mark.parametrize('shots', [1, 2, 4, 8, 16])
def test_shots(shots):
    chosen = Subset(shots=shots, seed=1).choose(IMAGES)
    labels = [IMAGES[i][1] for i in chosen]
    assert [labels.count(label) for label in range(3)] == [shots] * 3
    assert chosen == sorted(set(chosen))
    assert chosen == Subset(shots=shots, seed=1).choose(IMAGES)
    assert chosen != Subset(shots=shots, seed=2).choose(IMAGES)


def test_sizes_are_nested():
    by_shots = [set(Subset(shots=shots).choose(IMAGES)) for shots in (1, 2, 4, 8, 16)]
    by_percent = [set(Subset(percent=percent).choose(IMAGES)) for percent in (1, 10, 50, 80, 100)]
    for sets in (by_shots, by_percent):
        assert all(small < large for small, large in pairwise(sets))
    assert [len(chosen) for chosen in by_percent] == [3, 6, 30, 48, 60]


def test_what_was_drawn_is_recorded_and_used_again(tmp_path):
    record = tmp_path / 'subsets' / 'four.json'
    drawn = Subset(shots=4, seed=3, record=str(record)).choose(IMAGES)
    facts = json.loads(record.read_text())
    assert facts['indices'] == drawn and facts['images'] == [IMAGES[i][0] for i in drawn]
    assert (facts['shots'], facts['seed'], facts['of']) == (4, 3, 60)
    assert Subset(shots=1, seed=9, record=str(record)).choose(IMAGES) == drawn


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"indices": [0], "images": ["1.png"]}', 'it says 1.png where there is 0.png'),
        ('{"indices": [60], "images": ["1.png"]}', 'it numbers images that are not there'),
        ('{"indices": [0]}', 'is no record of a subset'),
        ('{"indices": [], "images": []}', 'is no record of a subset'),
        ('{"indices": 3, "images": ["0.png"]}', 'is no record of a subset'),
        ('{"indices": [0.5], "images": ["0.png"]}', 'it numbers images that are not there'),
        ('{"indices": [0, 0], "images": ["0.png", "0.png"]}', r'r\.json is damaged: an image is in it twice'),
        ('[', r'r\.json cannot be read: .*JSON'),
        ('[' * 100_000, r'r\.json cannot be read: .*JSON'),
    ],
)
def test_a_record_of_something_else_is_refused(tmp_path, content, message):
    (tmp_path / 'r.json').write_text(content)
    with pytest.raises(ValueError, match=message):
        Subset(shots=1, record=str(tmp_path / 'r.json')).choose(IMAGES)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({}, 'either shots or percent'),
        (dict(shots=1, percent=10), 'either shots or percent'),
        (dict(shots=0), 'shots must be a whole number of at least 1'),
        (dict(percent=0), r'percent must be in \(0, 100\]'),
    ],
)
def test_bad_sizes(options, message):
    with pytest.raises(ValueError, match=message):
        Subset(**options)


def test_too_few_images():
    with pytest.raises(ValueError, match='class 0 has 20 images, fewer than 21 shots'):
        Subset(shots=21).choose(IMAGES)


def test_in_a_data_set(tmp_path):
    write_vtab(tmp_path, 'kitti')
    record = str(tmp_path / 'one.json')
    data = BenchmarkTask(str(tmp_path), 'kitti', 'train', subset=dict(shots=1, record=record))
    assert sorted(data.get_gt_labels()) == [0, 1, 2, 3]
    assert json.loads((tmp_path / 'one.json').read_text())['images'][0].startswith('images/train800/')
