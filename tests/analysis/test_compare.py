"""Methods side by side, learning rates chosen on validation."""

import json

import pytest
from runs import hook, net, write_config, write_weights

from vptx.analysis import compare as module
from vptx.analysis.compare import Row, compare, markdown


@pytest.fixture
def configs(tmp_path):
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    return [
        str(write_config(tmp_path / f'{name}.py', tmp_path / name, hooks=[hook(**options)], **weights))
        for name, options in {'linear': dict(prompter=dict(type='AddedPrompter')), 'deep': {}}.items()
    ]


def test_choice_on_validation_figure_on_test_and_nothing_twice(tmp_path, configs, monkeypatch):
    rows = compare(configs, factors=[3, 1], seeds=[0, 1], out=tmp_path / 'out')
    assert [row.name for row in rows] == ['linear', 'deep']
    for row in rows:
        folder = tmp_path / 'out' / row.name
        looked_at = {str(path.relative_to(folder)) for path in folder.rglob('*.json') if path.parent.parent == folder}
        # Both rates see validation, with the first seed; only the chosen one sees the test split, with every seed.
        validated = {f'lr{lr:g}_seed0/val.json' for lr in (0.01, 0.03)}
        tested = {f'lr{row.lr:g}_seed{seed}/test.json' for seed in (0, 1)}
        assert looked_at == validated | tested
        scores = {lr: json.loads((folder / f'lr{lr:g}_seed0/val.json').read_text())['accuracy'] for lr in (0.01, 0.03)}
        assert row.val == max(scores.values()) == scores[row.lr]
        assert row.lr == 0.01 or scores[0.03] > scores[0.01]  # a tie goes to the smaller rate
        assert len(row.test) == 2 and row.trained > 0 and row.kilobytes > 0

    def never(config):
        raise AssertionError('a finished run was started again')

    monkeypatch.setattr(module, 'make_runner', never)
    assert compare(configs, factors=[3, 1], seeds=[0, 1], out=tmp_path / 'out') == rows

    changed = write_config(tmp_path / 'deep.py', tmp_path / 'deep', hooks=[hook()], **{'train_cfg.max_epochs': 5})
    with pytest.raises(ValueError, match='deep holds runs of another version of this config'):
        compare([str(changed)], factors=[1], seeds=[0], out=tmp_path / 'out')


def test_the_table_gives_mean_and_range():
    text = markdown([Row('deep', 0.01, 91.25, [90.0, 92.0, 94.0], 12345, 50.4)])
    assert text.splitlines()[-1] == '| deep | 0.01 | 91.2 | 92.0 (90.0 to 94.0) | 12,345 | 50 kB |'
