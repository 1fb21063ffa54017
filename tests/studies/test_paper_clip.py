"""Published numbers on CLIP: the tables are consistent, and stand beside those of vptx in a report."""

import json
from dataclasses import asdict
from statistics import mean

import pytest

from vptx.datasets import TASKS
from vptx.metrics import harmonic_mean
from vptx.studies.paper_clip import BASE_TO_NEW, MEAN, OTHER_TASKS
from vptx.studies.report import accuracies, base_to_new, read
from vptx.studies.results import Outcome, group_means
from vptx.studies.trials import write_table

COOP = [name for name, task in TASKS.items() if task.suite == 'coop']
SHIFT = [name for name, task in TASKS.items() if task.suite == 'imagenet_shift']


@pytest.mark.parametrize('method', BASE_TO_NEW)
def test_rows_of_base_to_new_are_consistent(method):
    rows = BASE_TO_NEW[method]
    for name, (base, new, h) in rows.items():
        assert harmonic_mean(base, new) == pytest.approx(h, abs=0.02), name
    if len(rows) > 1:
        assert [*rows] == [MEAN, *COOP]
        for part in (0, 1):
            assert mean(rows[task][part] for task in COOP) == pytest.approx(rows[MEAN][part], abs=0.02)


@pytest.mark.parametrize(
    ('method', 'sets', 'shifted'), [('zero_shot', 65.15, 57.18), ('coop', 63.88, 59.28), ('cocoop', 65.74, 59.91),
                                   ('maple', 66.30, 60.27)]
)  # fmt: skip
def test_means_of_transfer_are_those_published(method, sets, shifted):
    means = group_means(OTHER_TASKS[f'vitb16_clip_{method}_transfer'])
    assert means['ImageNet shift'] == pytest.approx(shifted, abs=0.01)
    assert group_means({t: OTHER_TASKS[f'vitb16_clip_{method}_transfer'][t] for t in COOP})[
        'Other ten'
    ] == pytest.approx(sets, abs=0.01)


def leave(folder, *outcomes):
    (folder / 'results.json').write_text(json.dumps([asdict(o) for o in outcomes]))
    facts = dict(trained=1, seconds=1.0, megabytes=1.0, kilobytes=1.0)
    write_table(
        folder / 'trials.csv', [dict(config=o.method, task=o.task, split='test', score=1.0, **facts) for o in outcomes]
    )
    return read([folder])


def halves(base, new):
    parts = dict(base=[base], new=[new], H=[harmonic_mean(base, new)], all=[base / 2])
    return dict(test=parts['H'], parts=parts, metric='H')


def test_base_to_new_stands_beside_the_published_numbers(tmp_path):
    found = leave(
        tmp_path,
        *(Outcome('vitb16_clip_coop', task, **halves(80.0 + i, 60.0)) for i, task in enumerate(COOP)),
        Outcome('vitb16_clip_mine', 'coop_dtd', **halves(50.0, 25.0)),
    )
    lines = base_to_new(found, found.halves()).splitlines()
    assert lines[2].startswith('| coop | coop_imagenet | 80.00 | 60.00 | 68.57 | 40.00 | *76.47* | *67.88* | *71.92* |')
    average = harmonic_mean(85.0, 60.0)
    assert f'| coop | *mean* | 85.00 | 60.00 | {average:.2f} | 42.50 | *82.69* | *63.22* | *71.66* |' in lines
    assert lines[-1] == '| mine | coop_dtd | 50.00 | 25.00 | 33.33 | 25.00 | - | - | - |'


def test_transfer_stands_beside_the_published_numbers(tmp_path):
    found = leave(tmp_path, *(Outcome('vitb16_clip_coop_transfer', task, test=[50.0]) for task in (*COOP, *SHIFT)))
    sets, shifted = accuracies(found, found.methods()).split('\n\n')
    assert '| *vitb16_clip_coop_transfer, published* | *71.5* | *93.7* |' in sets and '| *63.88* |' in sets
    assert shifted.splitlines()[-1].endswith('*64.2* | *48.0* | *49.7* | *75.2* | *59.28* |')
