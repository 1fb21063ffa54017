"""What is compared; no times."""

from vptx.benchmark.text import NAMES, TextTimes, compare, markdown


def test_both_ways_are_timed():
    (times,) = compare(dict(width=16, layers=1, heads=1, embed=8), tokens=[2], rounds=1, names=NAMES[:3])
    assert times.tokens == 2 and times.published > 0 and times.shared > 0
    assert len(set(NAMES)) == 48


def test_the_table():
    assert markdown([TextTimes(4, 6.0, 0.5, 12.0)]).endswith('| 4 | 6.00 | 0.50 | 12.0 |')
