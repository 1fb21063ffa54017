"""Methods and nets side by side, of configs without a grid: each run a process of its own."""

import gc
import json
import os
import runpy
import signal
import subprocess
import sys

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image
from runs import REPO, hook, net, tiny_config, write_config, write_weights

from vptx.studies import protocol, trials
from vptx.studies.protocol import RATE, experiment, studies
from vptx.studies.results import Outcome, markdown
from vptx.studies.trials import Run, Trial, side_by_side


@pytest.fixture
def configs(tmp_path):
    weights = {'model.backbone.net': net(weights=str(write_weights(tmp_path / 'weights.pth')))}
    return [
        str(
            write_config(tmp_path / f'{name}.py', tmp_path / name, hooks=[hook(**options)], log_level='INFO', **weights)
        )
        for name, options in {'linear': dict(prompter=dict(type='AddedPrompter')), 'deep': {}}.items()
    ]


def results(folder):
    return {str(path.parent.relative_to(folder)) for path in folder.rglob('result.json')}


def never(config):
    raise AssertionError('a finished run was started again')


def test_choice_on_validation_figure_on_test_and_nothing_twice(tmp_path, configs, monkeypatch):
    out = tmp_path / 'out'
    found = studies(configs, out, factors=[3, 1], seeds=[0, 1])
    outcomes = experiment(found, out, jobs=2)
    assert [o.method for o in outcomes] == ['linear', 'deep']
    for o in outcomes:
        folder, lr = out / o.method / 'TinyImages', o.point[RATE]
        # Both rates see validation, with the first seed; only the chosen one sees the test split, with every seed.
        assert results(folder / 'select') == {'lr=0.01', 'lr=0.03'}
        assert results(folder / 'final') == {f'lr={lr:g}/seed0', f'lr={lr:g}/seed1'}
        chosen = {p.parent.name: json.loads(p.read_text()) for p in (folder / 'select').glob('*/result.json')}
        assert {trial['seed'] for trial in chosen.values()} == {0}
        scores = {name: trial['score'] for name, trial in chosen.items()}
        assert o.val == max(scores.values()) == scores[f'lr={lr:g}']
        assert lr == 0.01 or scores['lr=0.03'] > scores['lr=0.01']  # a tie goes to the smaller rate
        assert len(o.test) == 2 and o.trained > 0 and o.kilobytes > 0 and o.at_edge and not o.missing
        assert (
            'Epoch(train) [2]' in (folder / 'select' / 'lr=0.01' / 'log.txt').read_text()
        )  # what the run said is kept
    assert (out / 'results.md').read_text() == markdown(outcomes) + '\n'
    assert [Outcome(**row) for row in json.loads((out / 'results.json').read_text())] == outcomes
    assert Image.open(out / 'results.png').width > 500

    monkeypatch.setattr(trials, 'make_runner', never)
    assert experiment(studies(configs, out, factors=[3, 1], seeds=[0, 1]), out) == outcomes

    # Other weights under the same name are another experiment, and so is another config.
    write_weights(tmp_path / 'weights.pth', seed=1)
    with pytest.raises(ValueError, match='linear/TinyImages holds runs of another version of this config or its w'):
        studies(configs, out)
    changed = write_config(tmp_path / 'deep.py', tmp_path / 'deep', hooks=[hook()], **{'train_cfg.max_epochs': 5})
    with pytest.raises(ValueError, match='deep/TinyImages holds runs of another version of this config'):
        studies([str(changed)], out)


@pytest.mark.parametrize(
    ('accuracy', 'tried', 'at_edge'),
    [
        (lambda lr: -abs(lr - 0.01), [0.003, 0.01, 0.03], False),
        (lambda lr: -abs(lr - 0.09), [0.003, 0.01, 0.03, 0.09, 0.27], False),
        (lambda lr: -lr, [0.000081, 0.00027, 0.0009, 0.003, 0.01, 0.03], True),  # and no further
        (lambda lr: lr if lr < 0.2 else None, [0.003, 0.01, 0.03, 0.09, 0.27], False),  # the last one breaks off
        (lambda lr: None, [0.003, 0.01, 0.03], False),
    ],
)
def test_a_grid_grows_where_the_best_is_at_its_end(tmp_path, configs, monkeypatch, accuracy, tried, at_edge):
    def do(run):
        score = accuracy(run.point[RATE])
        return run.write(Trial(run.point, score, error='' if score is not None else 'loss is nan'))

    monkeypatch.setattr(Run, 'do', do)
    out = tmp_path / 'out'
    (o,) = experiment(studies(configs[:1], out, seeds=[0]), out)
    rates = [json.loads(p.read_text())['point'][RATE] for p in (out / 'linear/TinyImages/select').glob('*/result.json')]
    assert sorted(rates) == pytest.approx(tried, rel=1e-3) and o.at_edge == at_edge
    if o.point is None:
        assert o.missing == ['final, for no point of the grid came to an end: loss is nan']
    else:
        assert len(o.test) == 1 and not o.missing
    (exact,) = studies(configs[:1], out, factors=[0.3, 1, 3], seeds=[0])
    assert len(exact.selection()) == 3  # of factors that were asked for there are no others


def test_without_a_grid_the_rate_alone_is_chosen(tmp_path):
    lengths = dict(lengths=[{'custom_hooks.0.prompter.num_tokens': tokens} for tokens in (1, 5)])
    path = write_config(tmp_path / 'deep.py', tmp_path / 'deep', hooks=[hook()], method_grid=lengths)
    (study,) = studies([path], tmp_path / 'out')
    assert [run.point for run in study.selection()] == [{RATE: 0.003}, {RATE: 0.01}, {RATE: 0.03}]


@pytest.mark.parametrize('how', ['error', 'killed'])
def test_a_run_that_fails_is_told_and_takes_nothing_with_it(tmp_path, configs, monkeypatch, capsys, how):
    def fails(config: Config) -> Runner:
        if 'deep/TinyImages/select/lr=0.03' in config.work_dir:
            if how == 'killed':
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError('out of luck')
        return Runner.from_cfg(config)

    out = tmp_path / 'out'
    options = dict(factors=[1, 3], seeds=[0])
    with monkeypatch.context() as patch:
        patch.setattr(trials, 'make_runner', fails)
        outcomes = experiment(studies(configs, out, **options), out)
    failed = out / 'deep/TinyImages/select/lr=0.03'
    told = {'error': 'RuntimeError: out of luck', 'killed': 'killed by signal 9'}[how]
    assert f'deep/TinyImages/select/lr=0.03 FAILED: {told}; see {failed}\n' in capsys.readouterr().out
    assert (failed / 'error.txt').is_file() == (how == 'error')
    assert [o.missing for o in outcomes] == [[], ['select/lr=0.03']]
    assert all(len(o.test) == 1 for o in outcomes) and outcomes[1].point == {RATE: 0.01}
    assert 'Not there: deep TinyImages select/lr=0.03' in markdown(outcomes)
    assert not [o.missing for o in experiment(studies(configs, out, **options), out) if o.missing]
    assert not (failed / 'error.txt').exists()


def test_in_a_process_that_has_compiled_before_its_first_backward_pass(tmp_path, configs, zygote):
    script = tmp_path / 'notebook.py'
    script.write_text(f"""
import torch

from vptx.studies.protocol import studies
from vptx.studies.trials import side_by_side

if __name__ == '__main__':
    torch.compile(torch.nn.Linear(2, 2), backend='eager')(torch.ones(1, 2)).sum().backward()
    (study,) = studies({configs[:1]}, {str(tmp_path / 'out')!r}, factors=[1], seeds=[0])
    assert [reason for _, reason in side_by_side(study.todo)] == ['', '']
    assert len(study.outcome().test) == 1
""")
    assert zygote.script(script, log=tmp_path / 'log.txt') == (0, '')


def test_data_that_cannot_be_built_are_an_error_before_anything_runs(tmp_path):
    data = dict(dataset=dict(type='Digits', split='val', crowded=-1, pipeline=[]), _delete_=True)
    path = write_config(tmp_path / 'deep.py', tmp_path / 'deep', hooks=[hook()], test_dataloader=data)
    with pytest.raises(ValueError, match='crowded must be 0'):
        experiment(studies([path], tmp_path / 'out'), tmp_path / 'out')
    assert not results(tmp_path / 'out')


def test_results_of_all_are_drawn_once(tmp_path, configs, monkeypatch):
    drawn = []
    monkeypatch.setattr(Run, 'do', lambda run: run.write(Trial(run.point, run.point[RATE])))
    monkeypatch.setattr(protocol, 'png', lambda figure: drawn.append(figure) or b'')
    experiment(studies(configs, tmp_path, factors=[1], seeds=[0]), tmp_path)
    assert len(drawn) == 2  # of the first study, then of both


@pytest.mark.slow
def test_a_run_imports_and_draws_nothing_that_the_parent_could(tmp_path):
    script = f"""
import json, sys
from pathlib import Path
from vptx.datasets.mini.digits import Digits
from vptx.studies.protocol import experiment, studies
from vptx.studies.trials import Run

done = Run.do

def do(run):
    before, draw = set(sys.modules), Digits._draw
    Digits._draw = lambda self: sys.modules.setdefault('drawn', self) and draw(self)
    trial = done(run)
    Path({str(tmp_path)!r}, f'{{run.seen}}.json').write_text(json.dumps(sorted(set(sys.modules) - before)))
    return trial

Run.do = do
out = {str(tmp_path / 'out')!r}
options = {{'train_cfg.max_epochs': 1, 'param_scheduler': None}}
found = studies(['mini/digits_linear'], out, options=options, features=out + '/features', factors=[1], seeds=[0])
experiment(found, out)
"""
    subprocess.run([sys.executable, '-c', script], check=True, cwd=REPO)
    for seen in ('val', 'test'):
        found = json.loads((tmp_path / f'{seen}.json').read_text())
        assert not [name for name in found if name.partition('.')[0] in ('drawn', 'sklearn', 'timm', 'vptx', 'yapf')]


def test_what_the_parent_has_left_is_not_collected_in_a_run(tmp_path):
    """The garbage of some libraries waits for threads that a fork does not have."""

    class Garbage:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            (tmp_path / str(os.getpid())).touch()

    class Collects(Run):
        def do(self, watch=None) -> None:
            gc.collect()

    runs = [Collects(tmp_path, 'one', Config({}), {}, 'val')]
    gc.disable()
    try:
        Garbage()
        assert [reason for _, reason in side_by_side(lambda: [run for run in runs if not run.folder.exists()])] == ['']
    finally:
        gc.enable()
    gc.collect()
    assert [path.name for path in tmp_path.iterdir() if path.name.isdigit()] == [str(os.getpid())]


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
    arguments = ['--nets', 'one', 'two', '--factors', '1', '--seeds', '0', '--jobs', '2', '--out', tmp_path / 'out']
    arguments += ['--cfg-options', 'train_cfg.max_epochs=1']
    monkeypatch.setattr('sys.argv', ['experiment.py', str(leaf), *map(str, arguments)])
    runpy.run_path(str(REPO / 'tools' / 'experiment.py'), run_name='__main__')
    assert '| TinyImages: test %, mean (range) | one | two |' in capsys.readouterr().out
    for name in ('one', 'two'):
        folder = tmp_path / 'out' / f'{name}_leaf' / 'TinyImages'
        assert results(folder) == {'select/lr=0.01', 'final/lr=0.01/seed0'}
        config = (folder / 'config.json').read_text()
        assert f'{name}.pth' in config and '"max_epochs": 1' in config
    with pytest.raises(ValueError, match="there is no net 'three'"):
        studies([str(leaf)], tmp_path / 'other', nets=['one', 'three'])
    with pytest.raises(ValueError, match='jobs must be a whole number of at least 1, not 0'):
        experiment(studies([str(leaf)], tmp_path / 'other'), tmp_path / 'other', jobs=0)


def test_segmentors_by_mean_iou_and_iterations(tmp_path, monkeypatch):
    pytest.importorskip('mmseg')
    from mmseg.evaluation import IoUMetric
    from segruns import write_images, write_seg_config

    compute, judged = IoUMetric.compute_metrics, tmp_path / 'judged'

    def told(self, found):
        with judged.open('a') as file:
            file.write('once\n')
        return compute(self, found)

    monkeypatch.setattr(IoUMetric, 'compute_metrics', told)

    config = write_seg_config(tmp_path / 'seg.py', tmp_path / 'work', write_images(tmp_path / 'data'))
    out = tmp_path / 'out'
    (o,) = experiment(studies([config], out, factors=[1], seeds=[0]), out)
    assert not o.missing and o.task == 'TinySeg' and o.metric == 'mIoU'
    assert o.test == [o.val] and 0 < o.val < 100  # the same images, trained by the same seed
    assert '| val mIoU % | test mIoU %, mean (range) |' in markdown([o])
    assert judged.read_text() == 'once\n' * 2  # each run at its end, and only there
    config = write_seg_config(tmp_path / 'other.py', tmp_path, tmp_path, test_evaluator=dict(type='CityscapesMetric'))
    with pytest.raises(ValueError, match='other: nothing to compare by: test_evaluator is City'):
        studies([config], out)
