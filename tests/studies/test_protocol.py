"""The protocol on a small VTAB-1k, by real runs: what is chosen, on what, what is reported, and who sees the test
split."""

import gc
import json
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from weakref import ref

import pytest
from mmengine.config import Config
from runs import REPO, hook, tiny_config
from suites import write_vtab

from vptx.datasets import TASKS
from vptx.studies import protocol
from vptx.studies.protocol import experiment, final_config, points, selection_config, studies
from vptx.studies.results import group_means, markdown
from vptx.studies.trials import Run, Trial, name_of

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LegacyResize', scale=16), dict(type='PackInputs')]


def config_file(folder: Path, data: Path, **changes) -> Path:
    """A config of a method on the small kitti: two learning rates, two weight decays, two seeds."""

    def loader(split: str) -> dict:
        dataset = dict(type='BenchmarkTask', data_root=str(data), task='kitti', split=split, pipeline=PIPELINE)
        shuffle = dict(type='DefaultSampler', shuffle=split == 'train')
        return dict(batch_size=4, num_workers=0, persistent_workers=False, sampler=shuffle, dataset=dataset)

    config = tiny_config(folder / 'unused', hooks=[hook(dict(type='DeepPrompter', num_tokens=2))])
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'] = loader(split)
    config['custom_imports'] = dict(imports=['vptx', 'vptx.datasets'])
    config['model']['data_preprocessor']['num_classes'] = config['model']['head']['num_classes'] = 4
    config['train_cfg']['max_epochs'] = 1
    config['grid'] = {'base_lr': [1.28, 0.0064], 'optim_wrapper.optimizer.weight_decay': [0.0]}
    config['final'] = dict(split='trainval', seeds=[1, 2])
    config.update(changes)
    Config(config).dump(str(folder / 'deep.py'))
    return folder / 'deep.py'


def test_points_are_every_combination_the_smallest_rates_first():
    grid = {'base_lr': [50, 5], 'optim_wrapper.optimizer.weight_decay': [0.01, 0]}
    method = dict(
        tokens=[
            {'custom_hooks.0.prompter.num_tokens': p, 'train_dataloader.batch_size': b}
            for p, b in [(1, 128), (100, 64)]
        ]
    )
    found = points(Config(dict(grid=grid, method_grid=method)))
    assert len(found) == 8 and [point['base_lr'] for point in found] == [5] * 4 + [50] * 4
    assert found[1] == {
        'base_lr': 5,
        'optim_wrapper.optimizer.weight_decay': 0,
        'custom_hooks.0.prompter.num_tokens': 100,
        'train_dataloader.batch_size': 64,
    }
    assert points(Config({})) == [{}]


@pytest.mark.parametrize(
    ('grid', 'message'),
    [
        (dict(base_lr=[]), "grid: 'base_lr' must be a list of at least one value"),
        (dict(base_lr=0.1), 'must be a list'),
        (dict(lengths=[1, 2]), "'lengths' is no path of a setting, so its values must be dicts of settings"),
    ],
)
def test_bad_grids(grid, message):
    with pytest.raises(ValueError, match=message):
        points(Config(dict(grid=grid)))


def test_learning_rate_is_base_times_batch_over_256(tmp_path):
    config = Config.fromfile(config_file(tmp_path, tmp_path))
    for batch in (64, 128):
        made = selection_config(config, {'base_lr': 2.5, 'train_dataloader.batch_size': batch})
        assert made.optim_wrapper.optimizer.lr == 2.5 * batch / 256
    made = selection_config(config, {'custom_hooks.0.prompter.num_tokens': 7})
    assert made.custom_hooks[0].prompter.num_tokens == 7 and made.optim_wrapper.optimizer.lr == 0.01
    assert config.custom_hooks[0].prompter.num_tokens == 2  # the config itself is left alone


def test_selection_has_no_test_split_and_the_final_run_no_validation(tmp_path):
    config = Config.fromfile(config_file(tmp_path, tmp_path))
    select, final = selection_config(config, {}), final_config(config, {}, seed=82)
    assert select.test_dataloader is select.test_evaluator is select.test_cfg is None
    assert "split='test'" not in select.pretty_text and 'test.txt' not in select.pretty_text
    assert (select.train_dataloader.dataset.split, select.val_dataloader.dataset.split) == ('train', 'val')
    assert final.val_dataloader is final.val_evaluator is final.val_cfg is None
    assert (final.train_dataloader.dataset.split, final.test_dataloader.dataset.split) == ('trainval', 'test')
    assert final.randomness.seed == 82


def test_the_experiment_and_that_selection_never_sees_the_test_split(tmp_path):
    folder = write_vtab(tmp_path / 'data', 'kitti')
    path = config_file(tmp_path, tmp_path / 'data')
    hidden = (folder / 'test.txt').rename(tmp_path / 'hidden.txt')  # images and list are out of reach
    tests = (folder / 'images' / 'test').rename(tmp_path / 'hidden')

    with pytest.raises(FileNotFoundError, match=r'kitti: there is no .*test\.txt'):
        experiment(studies([path], tmp_path / 'out'), tmp_path / 'out')
    assert not list((tmp_path / 'out').rglob('result.json'))  # refused before anything runs
    (study,) = studies([path], tmp_path / 'out')
    for run in study.selection():
        run.do()
    select = tmp_path / 'out' / 'deep' / 'kitti' / 'select'
    chosen = {p.parent.name: json.loads(p.read_text()) for p in select.glob('*/result.json')}
    assert sorted(chosen) == ['base_lr=0.0064_weight_decay=0', 'base_lr=1.28_weight_decay=0']  # all of it is done
    assert all(0 <= trial['score'] <= 100 for trial in chosen.values())
    times = {p: p.stat().st_mtime_ns for p in select.glob('*/result.json')}

    hidden.rename(folder / 'test.txt')
    tests.rename(folder / 'images' / 'test')
    (outcome,) = experiment(studies([path], tmp_path / 'out'), tmp_path / 'out')
    assert {p: p.stat().st_mtime_ns for p in select.glob('*/result.json')} == times  # and not run again
    best = max(trial['score'] for trial in chosen.values())
    assert outcome.val == best == chosen[name_of(outcome.point)]['score']
    assert len(outcome.test) == 2 and outcome.trained == 2 * 2 * 32 + 33 * 4
    final = tmp_path / 'out' / 'deep' / 'kitti' / 'final' / name_of(outcome.point)
    assert sorted(p.name for p in final.iterdir()) == ['seed1', 'seed2']
    assert (final / 'seed1' / 'prompt.safetensors').is_file() and not list((tmp_path / 'out').rglob('*.pth'))
    assert not list(select.rglob('*.safetensors'))
    assert json.loads((tmp_path / 'out' / 'results.json').read_text())[0]['test'] == outcome.test
    assert '| deep | kitti | base lr=' in (tmp_path / 'out' / 'results.md').read_text()

    config_file(tmp_path, tmp_path / 'data', randomness=dict(seed=5))
    with pytest.raises(ValueError, match='holds runs of another version of this config'):
        studies([path], tmp_path / 'out')


@pytest.fixture
def judged(monkeypatch):
    """Accuracies in place of runs, and all in this process."""
    seen = []

    def one_by_one(todo, jobs):
        while run := next(iter(todo()), None):
            run.do()
            yield run, ''

    def do(run):
        seen.append(run.seen)
        accuracy = judged.accuracies(run.point)
        return run.write(Trial(run.point, accuracy, 7, '' if accuracy is not None else 'loss is nan'))

    monkeypatch.setattr(Run, 'do', do)
    monkeypatch.setattr(protocol, 'side_by_side', one_by_one)
    monkeypatch.setattr(protocol, 'check_data', lambda found: None)  # there are no images
    monkeypatch.setattr(protocol, 'draw_comparison', lambda outcomes: None)
    monkeypatch.setattr(protocol, 'png', lambda figure: b'')  # after each of 19 tasks; test_experiment.py has one drawn
    judged = SimpleNamespace(seen=seen)
    return judged


def test_ties_go_to_the_smaller_rate_and_what_diverges_is_left_out(tmp_path, judged):
    path = config_file(tmp_path, tmp_path, grid={'base_lr': [50, 25, 5, 1]})
    judged.accuracies = lambda point: {50: None, 25: 80.0, 5: 80.0, 1: 10.0}[point['base_lr']]
    (outcome,) = experiment(studies([path], tmp_path / 'out'), tmp_path / 'out')
    assert outcome.point == {'base_lr': 5} and outcome.diverged == 1
    assert judged.seen == ['val'] * 4 + ['test'] * 2

    path = config_file(tmp_path, tmp_path, grid={'base_lr': [50]})
    (outcome,) = experiment(studies([path], tmp_path / 'none'), tmp_path / 'none')
    assert outcome.missing == ['final, for no point of the grid came to an end: loss is nan']


def test_tasks_by_name(tmp_path, judged):
    path = config_file(tmp_path, tmp_path, grid={})
    judged.accuracies = lambda point: 50.0
    outcomes = experiment(studies([path], tmp_path / 'out', tasks=['svhn', 'dmlab']), tmp_path / 'out')
    assert [outcome.task for outcome in outcomes] == ['svhn', 'dmlab']
    assert (tmp_path / 'out' / 'deep' / 'svhn' / 'config.json').is_file()
    with pytest.raises(ValueError, match="there is no task 'SVHN'"):
        studies([path], tmp_path / 'out', tasks=['dmlab', 'SVHN'])


def test_a_config_without_final_trains_on_the_same_images(tmp_path):
    path = config_file(tmp_path, tmp_path, final=None, randomness=dict(seed=None))
    (study,) = studies([path], tmp_path / 'out')
    config = final_config(study.config, {}, seed=3)
    assert config.train_dataloader.dataset.split == 'train' and config.randomness.seed == 3
    assert study.config.final.seeds == [42, 43, 44] and study.selection()[0].config.randomness.seed == 42
    (study,) = studies([path], tmp_path / 'out', seeds=[5])
    assert study.config.final.seeds == [5]


def test_factors_have_no_place_in_a_grid(tmp_path):
    with pytest.raises(ValueError, match=r'deep\.py has a grid of its own'):
        studies([config_file(tmp_path, tmp_path)], tmp_path / 'out', factors=[1])


def test_a_run_that_diverges_is_a_result(tmp_path):
    write_vtab(tmp_path / 'data', 'kitti')
    config = Config.fromfile(config_file(tmp_path, tmp_path / 'data'))
    config.optim_wrapper.optimizer = dict(type='SGD', lr=1.0)
    config.train_cfg.max_epochs = 4
    run = Run(tmp_path, 'run', selection_config(config, {'base_lr': 1e38}), {}, 'val')
    trial = run.do()
    assert trial.score is None and trial.error and trial.seconds > 0
    assert run.do() == run.read() == trial  # kept like any other


def test_checkpoints_are_deleted_where_the_prompt_file_is_there_and_nowhere_else(tmp_path, monkeypatch):
    write_vtab(tmp_path / 'data', 'kitti')
    config = Config.fromfile(config_file(tmp_path, tmp_path / 'data'))
    left = []
    for name in ('with', 'without'):
        if name == 'without':
            monkeypatch.setattr('vptx.hooks.SlimCheckpointHook.after_train', lambda *_: None)
        Run(tmp_path, name, final_config(config, {'base_lr': 0.0064}, 1), {}, 'test').do()
        left.append([path.name for path in (tmp_path / name).glob('*.pth')])
    assert left == [[], ['epoch_1.pth']]


def test_nets_are_put_in_by_name(tmp_path):
    leaves, nets = (
        [REPO / f'configs/mini_vtab/{name}.py' for name in ('linear', 'full')],
        ['vit_mini_mae', 'vit_mini_sup'],
    )
    found = studies(leaves, tmp_path, ['mini_count'], nets=nets)
    assert [study.method for study in found] == [f'{net}_{leaf.stem}' for net in nets for leaf in leaves]
    weights = [study.selection()[0].config.model.backbone.net.weights for study in found]
    assert [Path(file).name for file in weights] == ['vit_mini_mae.pth'] * 2 + ['vit_mini_sup.npz'] * 2
    assert len({run.folder for study in found for run in study.selection()}) == 4 * 3
    with pytest.raises(ValueError, match="there is no net 'vit_maxi'"):
        studies(leaves, tmp_path, nets=['vit_maxi'])


def test_an_earlier_network_is_let_go(tmp_path):
    write_vtab(tmp_path / 'data', 'kitti')
    (study,) = studies([config_file(tmp_path, tmp_path / 'data')], tmp_path / 'out')
    networks, there = [], []

    def watch(runner):
        there.append([network() is not None for network in networks])
        networks.append(ref(runner.model))

    gc.disable()  # which would let it go some time, by chance in time for the next
    try:
        for run in study.selection():
            run.do(watch)
    finally:
        gc.enable()
    assert there == [[], [False]]


def test_means_of_groups_and_of_tasks():
    """VPT-deep in the paper's table: 78.48, 82.43, 54.98, which some report as 71.96 and some as 69.42."""
    natural = dict(cifar=78.8, caltech101=90.8, dtd=65.8, oxford_flowers102=98.0, oxford_iiit_pet=88.3, svhn=78.1)
    specialized = dict(patch_camelyon=81.8, eurosat=96.1, resisc45=83.4, diabetic_retinopathy=68.4)
    structured = dict(clevr_count=68.5, clevr_dist=60.0, dmlab=46.5, kitti=72.8, dsprites_loc=73.6)
    structured |= dict(dsprites_ori=47.9, smallnorb_azi=32.9, smallnorb_ele=37.8)
    tasks = {**natural, 'sun397': 49.6, **specialized, **structured}
    means = group_means(tasks)
    assert [round(means[g], 1) for g in ('Natural', 'Specialized', 'Structured')] == [78.5, 82.4, 55.0]
    assert means['mean of groups'] == pytest.approx(71.97, abs=0.01)
    assert means['mean of tasks'] == pytest.approx(69.43, abs=0.01)
    del tasks['cifar']
    assert 'FGVC' not in means and 'mean of tasks' not in group_means(tasks)


def test_the_tool_says_what_is_missing(tmp_path, start):
    path = config_file(tmp_path, tmp_path / 'nowhere')
    status, output = start('experiment', path, '--out', tmp_path / 'out', log=tmp_path / 'log')
    assert status == 1
    assert output.splitlines()[-1].startswith("VTAB-1k's kitti: there is no")


def test_all_tasks_are_those_of_the_configs_suite(tmp_path, monkeypatch, judged, capsys):
    path = config_file(tmp_path, tmp_path, grid={})
    judged.accuracies = lambda point: 50.0
    arguments = [str(path), '--tasks', 'all', '--cfg-options', 'final.seeds=[3]', '--out', str(tmp_path / 'out')]
    monkeypatch.setattr('sys.argv', ['experiment.py', *arguments])
    runpy.run_path(str(REPO / 'tools' / 'experiment.py'), run_name='__main__')
    vtab = [name for name, task in TASKS.items() if task.suite == 'vtab']
    assert [row['task'] for row in json.loads((tmp_path / 'out' / 'results.json').read_text())] == vtab
    assert judged.seen == ['val', 'test'] * 19 and 'mean of tasks 50.00' in capsys.readouterr().out
    config = Config.fromfile(path)
    config.train_dataloader.dataset = dict(type='Digits')
    config.dump(str(path))
    with pytest.raises(SystemExit, match='is of no suite of tasks'):
        runpy.run_path(str(REPO / 'tools' / 'experiment.py'), run_name='__main__')


def test_a_wider_grid_and_more_seeds_run_only_what_is_new(tmp_path, judged):
    judged.accuracies = lambda point: 40.0 + point['base_lr']
    path = config_file(tmp_path, tmp_path, grid={'base_lr': [1]}, final=dict(split='trainval', seeds=[1]))
    experiment(studies([path], tmp_path / 'out'), tmp_path / 'out')
    path = config_file(tmp_path, tmp_path, grid={'base_lr': [0.5, 1]}, final=dict(split='trainval', seeds=[1, 2]))
    found = studies([path], tmp_path / 'out')
    assert [run.name for study in found for run in [*study.selection(), *study.final()] if run.read() is None] == [
        'deep/kitti/select/base_lr=0.5',
        'deep/kitti/final/base_lr=1/seed2',
    ]


def test_variants_are_studies_of_their_own_side_by_side(tmp_path, judged):
    """What each of them reaches, and which rate suits it, is its own business."""
    few = {'custom_hooks.0.prompter.num_tokens': 1}
    many = {'custom_hooks.0.prompter.num_tokens': 9, 'grid.base_lr': [5]}
    head = {'custom_hooks.0.prompter': None, 'model.head': dict(_delete_=True, type='ClsHead')}
    variants = dict(few=few, many=many, none=head)
    path = config_file(tmp_path, tmp_path, grid={'base_lr': [5, 1]}, variants=variants)
    judged.accuracies = lambda point: 40.0 + point['base_lr']
    found = studies([path], tmp_path / 'out')
    assert [(study.name, len(study.selection())) for study in found] == [
        ('deep_few/kitti', 2),
        ('deep_many/kitti', 1),
        ('deep_none/kitti', 2),
    ]
    configs = [study.selection()[0].config for study in found]
    assert [config.custom_hooks[0].prompter and config.custom_hooks[0].prompter.num_tokens for config in configs] == [
        1,
        9,
        None,
    ]
    assert configs[2].model.head == dict(type='ClsHead') and 'variants' not in configs[0]
    outcomes = experiment(found, tmp_path / 'out')
    assert [outcome.variant for outcome in outcomes] == ['few', 'many', 'none']
    assert markdown(outcomes).splitlines()[:3] == [
        '| test %, mean (range) | task | few | many | none |',
        '|---|---|---:|---:|---:|',
        '| deep | kitti | 45.0 (45.0 to 45.0) | 45.0 (45.0 to 45.0) | 45.0 (45.0 to 45.0) |',
    ]
    judged.seen.clear()  # one more runs what is new
    variants['more'] = {'custom_hooks.0.prompter.num_tokens': 20}
    config_file(tmp_path, tmp_path, grid={'base_lr': [5, 1]}, variants=variants)
    assert [study.name for study in studies([path], tmp_path / 'out') if not study.outcome().test] == [
        'deep_more/kitti'
    ]
    config_file(tmp_path, tmp_path, variants=dict(few=few), randomness=dict(seed=5))
    with pytest.raises(ValueError, match='deep_few/kitti holds runs of another version'):
        studies([path], tmp_path / 'out')


def test_what_is_missing_is_told(tmp_path, judged):
    path = config_file(tmp_path, tmp_path, grid={'base_lr': [5, 1]})
    (study,) = studies([path], tmp_path / 'out')
    judged.accuracies = lambda point: 40.0 + point['base_lr']
    study.selection()[0].do()
    (outcome,) = [study.outcome()]
    assert outcome.point == {'base_lr': 1} and outcome.test == []
    assert outcome.missing == ['select/base_lr=5', 'final/base_lr=1/seed1', 'final/base_lr=1/seed2']
    assert 'Not there: deep kitti select/base_lr=5, final/base_lr=1/seed1' in markdown([outcome])
    study.final()[0].do()
    study.selection()[1].do()  # is better: what was tested before is another point's
    assert study.outcome().point == {'base_lr': 5} and study.outcome().test == []


def test_features_that_are_kept_change_no_result(tmp_path):
    write_vtab(tmp_path / 'data', 'kitti')
    linear = [dict(type='PromptTuningHook', tune=['head'])]
    path, features = config_file(tmp_path, tmp_path / 'data', custom_hooks=linear), tmp_path / 'features'
    plain = experiment(studies([path], tmp_path / 'plain'), tmp_path / 'plain')
    kept = experiment(studies([path], tmp_path / 'kept', features=features), tmp_path / 'kept')
    assert [replace(o, kilobytes=0) for o in kept] == [replace(o, kilobytes=0) for o in plain]
    # Two splits of the selection's network, whatever the rate, and two of each seed's own.
    assert len([place for place in features.iterdir() if place.name != '.locks']) == 2 + 2 * 2
    studies([path], tmp_path / 'kept')  # the same experiment as before
