"""Sweeps by a real Ray of two processors: killed and started again, with a run that fails and runs that are stopped."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
import torch
import yaml
from mmengine.config import Config
from runs import REPO, environment
from safetensors.torch import load_file
from suites import write_vtab
from test_protocol import config_file

from vptx.studies.protocol import experiment, studies
from vptx.studies.trials import Trial

TOKENS = 'custom_hooks.0.prompter.num_tokens'


@pytest.fixture(autouse=True)
def on_a_busy_machine(monkeypatch):
    """Ray's workers give way to all other processes, unless this says otherwise."""
    monkeypatch.setenv('RAY_worker_niceness', '0')


def finished(out):
    """Every run with a result, and when that was written."""
    return {str(p.parent.relative_to(out)): p.stat().st_mtime_ns for p in out.glob('*/*/**/result.json')}


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_and_a_run_that_fails_takes_nothing_with_it(tmp_path):
    write_vtab(tmp_path / 'data', 'kitti')
    # Nobody can learn -1 tokens.
    method = dict(tokens=[{TOKENS: 2}, {TOKENS: 3}, {TOKENS: -1}])
    path = config_file(tmp_path, tmp_path / 'data', grid={'base_lr': [0.0064, 1.28]}, method_grid=method)
    out = tmp_path / 'out'
    command = [sys.executable, str(REPO / 'tools/sweep.py'), str(path), '--out', str(out), '--address', 'local']

    def start():
        log = (tmp_path / 'log').open('w')
        return subprocess.Popen(command, env=environment(), cwd=tmp_path, stdout=log, stderr=log)

    first = start()
    while not finished(out):
        assert first.poll() is None, (tmp_path / 'log').read_text()
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before = finished(out)
    assert len(before) < 4 and not (out / 'results.json').is_file()

    assert start().wait(1200) == 1
    told, after = (tmp_path / 'log').read_text(), finished(out)
    assert (out / 'results.json').is_file(), told
    assert before.items() <= after.items()  # not run again
    (outcome,) = json.loads((out / 'results.json').read_text())
    assert len(after) == 4 + 2 and len(outcome['test']) == 2
    assert outcome['missing'] == [f'select/base_lr={lr}_num_tokens=-1' for lr in (0.0064, 1.28)]
    assert 'deep/kitti/select/base_lr=1.28_num_tokens=-1 FAILED: ' in told and '2 runs failed' in told
    assert 'ValueError' in (out / 'deep/kitti/select/base_lr=1.28_num_tokens=-1/error.txt').read_text()
    rows = list(csv.DictReader((out / 'trials.csv').open()))
    assert [row['split'] for row in rows] == ['val'] * 4 + ['test'] * 2
    for row in rows:
        assert float(row['seconds']) > 0 and float(row['megabytes']) > 50 and int(row['trained']) > 0
        assert row['seed'] in '012' and row['base_lr'] in ('0.0064', '1.28') and 0 <= float(row['score']) <= 100


@pytest.mark.slow
def test_runs_that_fall_behind_are_stopped_and_not_chosen_from(tmp_path, monkeypatch):
    from vptx.studies import sweep as module

    write_vtab(tmp_path / 'data', 'kitti')
    path = config_file(tmp_path, tmp_path / 'data', grid={'base_lr': [0.0064, 0.0128, 0.0256, 1.28]})
    monkeypatch.setenv('PYTHONPATH', environment()['PYTHONPATH'])
    found = studies([path], tmp_path / 'out', options={'train_cfg.max_epochs': 3, 'final.seeds': [1]})
    # All that have not reached 200 %.
    monkeypatch.setattr(module._ASHA, 'on_trial_result', lambda self, c, trial, result: self.stop(trial))
    monkeypatch.setattr(
        module._ASHA, 'stop', lambda self, t: 'STOP' if '1.28' in t.config['run'] else 'CONTINUE', raising=False
    )
    module.connect('local')
    try:
        (outcome,), failed = module.sweep(found, tmp_path / 'out', asha=True)
    finally:
        module.ray.shutdown()
    assert not failed and outcome.stopped == 1 and outcome.diverged == 0 and len(outcome.test) == 1
    (stopped,) = [run.read() for run in found[0].selection() if '1.28' in run.name]
    assert stopped.score is None and stopped.error.startswith('stopped after 1 of 3 epochs at ')


@pytest.mark.slow
def test_a_run_whose_process_dies_goes_on_from_its_last_checkpoint_and_one_that_always_dies_is_given_up(
    tmp_path, monkeypatch
):
    from vptx.studies import sweep as module

    write_vtab(tmp_path / 'data', 'kitti')
    monkeypatch.setenv('PYTHONPATH', environment()['PYTHONPATH'])
    # The second checkpoint that a process writes is its end: of three epochs, each process adds one.
    killers = dict(
        straight=[], dying=[dict(type='KillHook', write=2, at='replace')], doomed=[dict(type='KillHook', iteration=1)]
    )
    paths = {}
    for name, hooks in killers.items():
        path = config_file(tmp_path, tmp_path / 'data', grid={'base_lr': [1.28]})
        config = Config.fromfile(path)
        config.custom_imports.imports.append('runs')
        config.custom_hooks.extend(hooks)
        paths[name] = tmp_path / f'{name}.py'
        config.dump(paths[name])
    options, out = {'train_cfg.max_epochs': 3, 'final.seeds': [1]}, tmp_path / 'out'
    experiment(studies([paths['straight']], out, options=options), out)  # without Ray
    said, found = [], studies([paths['dying'], paths['doomed']], out, options=options)
    module.connect('local')
    try:
        (dying, doomed), failed = module.sweep(found, out, say=said.append)
    finally:
        module.ray.shutdown()
    again = Counter(line.partition(' is started again')[0] for line in said if ' is started again' in line)
    (selected,), (chosen,), (given_up,) = found[0].selection(), found[0].final(), found[1].selection()
    assert again == {selected.name: 2, chosen.name: 2, given_up.name: 2}
    assert failed == [given_up.name] and f'{given_up.name} FAILED: its process died 3 times; see' in '\n'.join(said)
    assert len(doomed.missing) == 1 and not dying.missing and len(dying.test) == 1
    ours, theirs = (load_file(next(out.glob(f'{name}/**/prompt.safetensors'))) for name in ('dying', 'straight'))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    straight = next(out.glob('straight/**/seed1/result.json'))
    assert dying.test == [json.loads(straight.read_text())['score']]


def test_accuracies_of_different_studies_are_not_compared():
    from vptx.studies.sweep import _ASHA

    names = [f'{study}/{i}' for study in ('easy', 'hard') for i in range(8)]
    asha = _ASHA({name: name[:4] for name in names}, grace_period=1, max_t=9)
    trials = {name: SimpleNamespace(config=dict(run=name), trial_id=name) for name in names}
    for trial in trials.values():
        asha.on_trial_add(None, trial)
    kept = []
    for name in reversed(names):  # the best first
        accuracy = 10 * int(name[-1]) + 100 * name.startswith('easy')
        if asha.on_trial_result(None, trials[name], dict(epoch=1, score=accuracy)) == 'CONTINUE':
            kept.append(name)
    assert {name[:4] for name in kept} == {'easy', 'hard'}
    assert 'hard/7' in kept and 'easy/7' in kept and not {'hard/0', 'easy/0'} & set(kept)


def test_what_was_stopped_is_written_by_the_driver_and_begun_anew_when_nobody_stops(tmp_path):
    from vptx.studies.sweep import _Keep

    (study,) = studies([config_file(tmp_path, tmp_path)], tmp_path / 'out')
    one, two = study.selection()
    one.write(Trial(one.point, 50.0))
    two.folder.mkdir(parents=True)
    (two.folder / 'epoch_1.pth').touch()
    keep = _Keep({run.name: run for run in study.selection()})
    for run in study.selection():
        trial = SimpleNamespace(config=dict(run=run.name), last_result=dict(epoch=1, score=25.0))
        keep.on_trial_complete(0, [], trial)
    assert one.read() == Trial(one.point, 50.0)
    assert two.read().stopped and two.read().error == 'stopped after 1 of 1 epochs at 25.0 %'
    assert not list(two.folder.glob('*.pth'))
    assert study.outcome().stopped == 1 and study.outcome().diverged == 0 and study.best() == one.read()


def test_without_ray_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    path = config_file(tmp_path, tmp_path)
    hidden = tmp_path / 'hidden'
    hidden.mkdir()
    (hidden / 'ray.py').write_text("raise ImportError('No module named ray')")
    env = environment()
    env['PYTHONPATH'] = f'{hidden}{os.pathsep}{env["PYTHONPATH"]}'
    command = [sys.executable, str(REPO / 'tools/sweep.py'), str(path), '--out', str(tmp_path / 'out')]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith('a sweep needs Ray Tune: pip install vptx[sweep]')


def test_the_file_of_a_cluster_that_grows_is_as_ray_wants_it():
    """By the schema that comes with Ray; no cloud is asked."""
    import ray

    text = re.search(r'```yaml\n(cluster_name.*?)```', (REPO / 'docs/clusters.md').read_text(), re.DOTALL)
    schema = json.loads((Path(ray.__file__).parent / 'autoscaler/ray-schema.json').read_text())
    config = yaml.safe_load(text[1])
    jsonschema.validate(config, schema)
    types = config['available_node_types']
    assert config['head_node_type'] in types
    assert sum(each.get('max_workers', 0) for each in types.values()) <= config['max_workers']
