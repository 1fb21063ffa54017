"""Means with their errors, and differences in pairs: against scipy, and against what is worked out in the test."""

from math import sqrt
from statistics import variance

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_rel

from vptx.studies.evidence import compare, error, error_of_mean, gain_of_best, holm


def test_an_error_counts_seeds_and_images():
    assert error([60.0], 600) == pytest.approx(2.0)  # sqrt(0.6 * 0.4 / 600)
    assert error([50.0, 54.0], None) == pytest.approx(2.0)
    assert error([58.0, 62.0], 600) == pytest.approx(sqrt(8))
    assert error([100.0, 100.0], 500) == 0
    assert error_of_mean([3.0, 4.0]) == pytest.approx(2.5)


def test_an_error_is_as_large_as_the_spread_of_repetitions():
    """Runs whose images and seeds are drawn again: no image easier than another, so that the error is exact."""
    rng = np.random.default_rng(0)
    means, errors = [], []
    for _ in range(2000):
        shares = np.clip(0.6 + 0.04 * rng.standard_normal(5), 0, 1)
        images = rng.random(500)  # the same of all seeds: an image is got right by those that are good enough
        scores = [100 * float((images < share).mean()) for share in shares]
        means.append(np.mean(scores))
        errors.append(error(scores, 500))
    assert np.std(means) == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=0.06)


def test_a_difference_is_paired_by_task_and_seed():
    rng = np.random.default_rng(1)
    one = {f't{t}': {seed: float(v) for seed, v in enumerate(rng.normal(50 + t, 2, 5))} for t in range(4)}
    other = {task: {seed: v - 1 + float(rng.normal(0, 0.3)) for seed, v in of.items()} for task, of in one.items()}
    other['t0'][9] = 0.0  # a seed that the first lacks
    found = compare(one, other)
    gains = {task: [one[task][seed] - other[task][seed] for seed in of] for task, of in one.items()}
    means = [np.mean(g) for g in gains.values()]
    assert found.number == 4 and found.mean == pytest.approx(np.mean(means))
    assert found.tasks == pytest.approx(ttest_1samp(means, 0).pvalue)
    assert found.error == pytest.approx(sqrt(sum(variance(g) / 5 for g in gains.values())) / 4)
    assert found.seeds < 1e-6 < found.tasks
    back = compare(other, one)
    assert (back.mean, back.seeds) == pytest.approx((-found.mean, found.seeds))


def test_one_task_twice_is_the_paired_test_of_seeds():
    one, other = [50.0, 52.0, 51.0], [49.0, 49.5, 50.5]
    found = compare(*(({'a': dict(enumerate(s)), 'b': dict(enumerate(s))}) for s in (one, other)))
    # Two tasks of equal variance: twice the degrees of freedom, and an error that is smaller by a root of two.
    once = ttest_rel(one, other)
    assert found.mean / found.error == pytest.approx(once.statistic * sqrt(2))


def test_too_little_to_compare():
    assert compare({'a': {1: 50.0, 2: 51.0}}, {'a': {1: 50.0, 2: 52.0}}) is None
    assert compare({'a': {1: 50.0}, 'b': {1: 51.0}}, {'a': {1: 50.0}, 'b': {1: 52.0}}) is None
    same = {task: {1: 50.0, 2: 50.0} for task in 'ab'}
    assert (compare(same, same).seeds, compare(same, same).tasks) == (1, 1)


def test_holm():
    assert holm(dict(a=0.03, b=0.01, c=0.02, d=0.9)) == pytest.approx(dict(a=0.06, b=0.04, c=0.06, d=0.9))
    assert holm({}) == {}


def test_the_best_epoch_is_above_the_last_one_by_the_mean_of_tasks():
    last = dict(a={1: 50.0, 2: 52.0}, b={1: 60.0}, c={1: 10.0})
    best = dict(a={1: 51.0, 2: 52.0}, b={1: 61.5})
    points, spread, runs = gain_of_best(last, best)
    assert (points, runs) == (1.0, 3) and spread == pytest.approx(error([1.0, 0.0], None) / 2)
    assert gain_of_best(last, {}) is None
