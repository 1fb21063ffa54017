"""Methods and nets side by side, learning rates chosen on validation, each run a process of its own."""

import json
import os
import runpy
import signal
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from runs import hook, net, tiny_config, write_config, write_weights

from vptx.analysis import compare as module
from vptx.analysis.compare import compare
from vptx.analysis.results import Row, markdown, plot


@pytest.fixture
def configs(tmp_path):
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    return [
        str(write_config(tmp_path / f'{name}.py', tmp_path / name, hooks=[hook(**options)], **weights))
        for name, options in {'linear': dict(prompter=dict(type='AddedPrompter')), 'deep': {}}.items()
    ]


def results(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob('*.json') if path.parent.parent == folder}


def never(config):
    raise AssertionError('a finished run was started again')


def test_choice_on_validation_figure_on_test_and_nothing_twice(tmp_path, configs, monkeypatch):
    out = tmp_path / 'out'
    rows = compare(configs, factors=[3, 1], seeds=[0, 1], out=out, jobs=2)
    assert [row.name for row in rows] == ['linear', 'deep']
    for row in rows:
        folder = out / row.name
        # Both rates see validation, with the first seed; only the chosen one sees the test split, with every seed.
        validated = {f'lr{lr:g}_seed0/val.json' for lr in (0.01, 0.03)}
        tested = {f'lr{row.lr:g}_seed{seed}/test.json' for seed in (0, 1)}
        assert results(folder) == validated | tested
        scores = {lr: json.loads((folder / f'lr{lr:g}_seed0/val.json').read_text())['accuracy'] for lr in (0.01, 0.03)}
        assert row.val == max(scores.values()) == scores[row.lr]
        assert row.lr == 0.01 or scores[0.03] > scores[0.01]  # a tie goes to the smaller rate
        assert len(row.test) == 2 and row.trained > 0 and row.kilobytes > 0 and row.at_edge and not row.failed
    assert (out / 'table.md').read_text() == markdown(rows) + '\n'
    assert [Row(**row) for row in json.loads((out / 'table.json').read_text())] == rows
    assert Image.open(out / 'table.png').width > 500

    monkeypatch.setattr(module, 'make_runner', never)
    assert compare(configs, factors=[3, 1], seeds=[0, 1], out=out) == rows

    # Other weights under the same name are another experiment, and so is another config.
    write_weights(tmp_path / 'weights.pth', seed=1)
    with pytest.raises(ValueError, match='linear holds runs of another version of this config or its weights'):
        compare(configs, factors=[1], seeds=[0], out=out)
    changed = write_config(tmp_path / 'deep.py', tmp_path / 'deep', hooks=[hook()], **{'train_cfg.max_epochs': 5})
    with pytest.raises(ValueError, match='deep holds runs of another version of this config'):
        compare([str(changed)], factors=[1], seeds=[0], out=out)


@pytest.mark.parametrize('how', ['error', 'killed'])
def test_a_run_that_fails_is_told_and_takes_nothing_with_it(tmp_path, configs, monkeypatch, capsys, how):
    def fails(config: Config) -> Runner:
        if 'deep/lr0.03' in config.work_dir:
            if how == 'killed':
                os.kill(os.getpid(), signal.SIGKILL)
            raise FloatingPointError('loss is nan')
        return Runner.from_cfg(config)

    with monkeypatch.context() as patch:
        patch.setattr(module, 'make_runner', fails)
        rows = compare(configs, factors=[1, 3], seeds=[0], out=tmp_path / 'out')
    told = {'error': 'FloatingPointError: loss is nan', 'killed': 'killed by signal 9'}[how]
    assert f'deep lr0.03_seed0/val FAILED: {told}; see ' in capsys.readouterr().out
    assert [row.failed for row in rows] == [[], ['lr0.03_seed0/val']]
    assert all(len(row.test) == 1 for row in rows) and rows[1].lr == 0.01
    assert 'Failed: deep its own lr0.03_seed0/val' in markdown(rows)
    assert not [row.failed for row in compare(configs, factors=[1, 3], seeds=[0], out=tmp_path / 'out') if row.failed]


def test_nets_are_put_in_by_name(tmp_path, monkeypatch, capsys):
    config = tiny_config(tmp_path / 'run')
    model = config.pop('model')
    (tmp_path / 'nets').mkdir()
    for seed, name in enumerate(('one', 'two')):
        model['backbone']['net'] = net(weights=str(write_weights(tmp_path / f'{name}.pth', seed)))
        Config(dict(model=model)).dump(str(tmp_path / 'nets' / f'{name}.py'))
    Config(config).dump(str(tmp_path / 'rest.py'))
    leaf = tmp_path / 'leaf.py'
    leaf.write_text("_base_ = ['nets/one.py', 'rest.py']\n")
    tool = Path(__file__).parents[2] / 'tools' / 'compare.py'
    arguments = ['--nets', 'one', 'two', '--factors', '1', '--seeds', '0', '--jobs', '2', '--out', tmp_path / 'out']
    arguments += ['--cfg-options', 'train_cfg.max_epochs=1']
    monkeypatch.setattr('sys.argv', [str(tool), str(leaf), *map(str, arguments)])
    runpy.run_path(str(tool), run_name='__main__')
    assert '| TinyImages: test %, mean (range) | one | two |' in capsys.readouterr().out
    for name in ('one', 'two'):
        assert results(tmp_path / 'out' / name / 'leaf') == {'lr0.01_seed0/val.json', 'lr0.01_seed0/test.json'}
        config = (tmp_path / 'out' / name / 'leaf' / 'config.py').read_text()
        assert f'{name}.pth' in config and 'max_epochs=1' in config
    with pytest.raises(ValueError, match="there is no net 'three'"):
        compare([str(leaf)], factors=[1], seeds=[0], out=tmp_path / 'other', nets=['one', 'three'])
    with pytest.raises(ValueError, match='jobs must be a whole number of at least 1, not 0'):
        compare([str(leaf)], factors=[1], seeds=[0], out=tmp_path / 'other', jobs=0)


def test_segmentors_by_mean_iou_and_iterations(tmp_path):
    pytest.importorskip('mmseg')
    from segruns import write_images, write_seg_config

    config = write_seg_config(tmp_path / 'seg.py', tmp_path / 'work', write_images(tmp_path / 'data'))
    (row,) = compare([str(config)], factors=[1], seeds=[0], out=tmp_path / 'out')
    assert not row.failed and row.task == 'TinySeg' and row.metric == 'mIoU'
    assert row.test == [row.val] and 0 < row.val < 100  # the same images, the same run
    assert '| config | net | lr | val mIoU % | test mIoU %, mean (range) |' in markdown([row])
    log = (tmp_path / 'out' / 'seg' / 'lr0.01_seed0' / 'val.log').read_text()
    assert 'Iter(val)' not in log  # it is judged once, at the end
    config = write_seg_config(tmp_path / 'other.py', tmp_path, tmp_path, test_evaluator=dict(type='CityscapesMetric'))
    with pytest.raises(ValueError, match='other has nothing to compare by: its test_evaluator is City'):
        compare([str(config)], factors=[1], seeds=[0], out=tmp_path / 'out')


ROWS = [
    Row('digits_linear', 'sup', 'Digits', 0.09, False, 91.25, [90.0, 92.0, 94.0], 12345, 50.4),
    Row('digits_linear', 'mae', 'Digits', 0.3, True, 50.0, [50.0], 12345, 50.4),
    Row('digits_vpt_deep', 'sup', 'Digits', failed=['lr0.3_seed42/val']),
]


def test_the_tables_give_mean_and_range():
    first, second, star, failed = markdown(ROWS).split('\n\n')
    assert first.splitlines() == [
        '| Digits: test %, mean (range) | sup | mae |',
        '|---|---:|---:|',
        '| linear | 92.0 (90.0 to 94.0) | 50.0 (50.0 to 50.0) |',
        '| vpt_deep | failed |  |',
    ]
    assert second.splitlines()[2] == '| digits_linear | sup | 0.09 | 91.2 | 92.0 (90.0 to 94.0) | 12,345 | 50 kB |'
    assert '| 0.3\\* |' in second and star.startswith('\\* the smallest or the largest')
    assert failed == 'Failed: digits_vpt_deep sup lr0.3_seed42/val'


def test_each_metric_has_a_table_of_its_own():
    seg = Row('mini_head', None, 'MiniADE', 0.01, False, 30.0, [31.0, 33.0], 1, 1.0, metric='mIoU')
    first, second = markdown([ROWS[0], seg]).split('\n\n')[-2:]
    assert 'val % | test %, mean' in first and 'digits_linear' in first and 'mini_head' not in first
    assert 'val mIoU % | test mIoU %, mean' in second and '32.0 (31.0 to 33.0)' in second


def test_the_picture_of_many_and_of_one(tmp_path):
    for name, rows in {'many': ROWS, 'one': ROWS[:1]}.items():
        plot(rows, tmp_path / f'{name}.png')
        with Image.open(tmp_path / f'{name}.png') as picture:
            assert picture.getextrema()[0][0] < 128  # something was drawn on the white
