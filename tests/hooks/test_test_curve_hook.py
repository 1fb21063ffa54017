"""Tests between epochs: their figures are kept, and change nothing of the run."""

import pytest
from mmengine.config import Config
from runs import hook, interrupted, tiny_config
from safetensors.torch import load_file

from vptx.configs import make_runner
from vptx.hooks import TestCurveHook
from vptx.studies.trials import Run

DROPS = dict(type='DeepPrompter', num_tokens=2, dropout=0.5)


def run(folder, *hooks, epochs=3):
    config = tiny_config(folder, hooks=[hook(DROPS), *hooks])
    config['train_cfg']['max_epochs'] = epochs
    return Run(folder, 'run', Config(config), {}, 'test')


def test_the_run_is_as_without_it_and_its_last_figure_is_the_score(tmp_path):
    plain = run(tmp_path / 'plain').do()
    tested = run(tmp_path / 'tested', dict(type='TestCurveHook')).do()
    assert plain.curve == [] and len(tested.curve) == 3
    assert tested.curve[-1] == tested.score == plain.score and tested.processor > 0
    one, other = (load_file(tmp_path / name / 'run' / 'prompt.safetensors') for name in ('plain', 'tested'))
    assert one.keys() == other.keys() and all(one[key].equal(other[key]) for key in one)
    assert run(tmp_path / 'tested', dict(type='TestCurveHook')).read() == tested


def test_it_begins_where_it_is_told_to(tmp_path):
    assert len(run(tmp_path, dict(type='TestCurveHook', begin=3)).do().curve) == 0  # the score says the same
    assert len(run(tmp_path / 'two', dict(type='TestCurveHook', begin=2)).do().curve) == 2


def test_a_run_that_is_resumed_has_the_figures_from_before(tmp_path):
    hooks = [hook(DROPS), dict(type='TestCurveHook')]
    whole = run(tmp_path / 'whole', hooks[1]).do()
    interrupted(tmp_path / 'half' / 'run', 7, hooks=hooks, **{'train_cfg.max_epochs': 3})
    half = run(tmp_path / 'half', hooks[1]).do()
    assert half.curve == whole.curve
    assert half.processor == 0 < whole.processor  # of a part of the training it would mislead


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match='begin is the number of an epoch'):
        TestCurveHook(begin=0)
    config = tiny_config(tmp_path, hooks=[hook(DROPS), dict(type='TestCurveHook')])
    config['train_cfg'] = dict(by_epoch=False, max_iters=2)
    with pytest.raises(ValueError, match='counts iterations'):
        make_runner(Config(config)).train()
