"""Files of studies, damaged, forged or of a later version: each is one error that names it, and nothing in it runs."""

import json
from dataclasses import asdict

import pytest
from mmengine.config import Config
from runs import tiny_config

import vptx.datasets  # noqa: F401  registers what configs name
from vptx.studies import records
from vptx.studies.protocol import _best
from vptx.studies.records import as_record, config_text, inside, read_config, read_rows
from vptx.studies.report import Found, Outcome, Picture, Section, read, write
from vptx.studies.trials import Run, Trial

OUTCOME = asdict(Outcome('leaf', 'task', {'lr': 1.0}, 50.0, [1.0, 2]))


def test_what_was_written_comes_back_and_further_keys_are_passed_over(tmp_path):
    found = as_record(Outcome, {**OUTCOME, 'from a later version': 3}, tmp_path / 'results.json')
    assert found == Outcome('leaf', 'task', {'lr': 1.0}, 50.0, [1.0, 2])
    assert as_record(Outcome, dict(leaf='a', task='b'), tmp_path) == Outcome('a', 'b')


@pytest.mark.parametrize(
    'change',
    [
        dict(leaf=3),
        dict(point=[1]),
        dict(val='50'),
        dict(val=float('nan')),
        dict(test=[float('inf')]),
        dict(test=50.0),
        dict(trained=1.5),
        dict(at_edge=1),
        dict(missing=[3]),
    ],
)
def test_values_of_another_type(tmp_path, change):
    (name,) = change
    (tmp_path / 'results.json').write_text(json.dumps([{**OUTCOME, **change}]))
    with pytest.raises(ValueError, match=rf'^{tmp_path}/results\.json is damaged: {name} is '):
        read([tmp_path])


@pytest.mark.parametrize('text', ['', '{', '3', '[3]', '[[]]', '[{}]', '[{"leaf": "a"}]', '[' * 100_000, '{"a": 1}'])
def test_results_that_are_none(tmp_path, text):
    (tmp_path / 'results.json').write_text(text)
    with pytest.raises(ValueError, match=rf'^{tmp_path}/results\.json (is damaged|cannot be read)'):
        read([tmp_path])


@pytest.mark.parametrize('text', ['', '{', '3', '{}', '{"point": {}, "score": NaN}', '{"point": {}, "score": 1e999}'])
def test_a_run_whose_result_is_none(tmp_path, text):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / 'result.json').write_text(text)
    with pytest.raises(ValueError, match=rf'^{tmp_path}/a/result\.json (is damaged|cannot be read)'):
        Run(tmp_path, 'a', Config(), {}, 'val').read()


def test_a_score_that_is_no_number_does_not_win():
    trials = [Trial({}, 40.0), Trial({}, float('nan')), Trial({}, 50.0)]
    assert _best(trials).score == 50.0
    assert _best(trials[1:2]) is None


@pytest.mark.parametrize(
    ('text', 'match'),
    [
        ('', 'its last line does not end'),
        ('config,task,split,score,trained,seconds,megabytes,kilobytes\na,b,val,1,1,1,1,1', 'does not end'),
        ('text\n', 'has no column config'),
        ('config,task\na,b\n', 'has no column split'),
        ('config,task,split,score,trained,seconds,megabytes,kilobytes\na,b,val,1,1,1,1,\n', "kilobytes is ''"),
        ('config,task,split,score,trained,seconds,megabytes,kilobytes\na,b,val,nan,1,1,1,1\n', "score is 'nan'"),
        ('config,task,split,score,trained,seconds,megabytes,kilobytes\na,b,val,,x,1,1,1\n', "trained is 'x'"),
        ('config,task,split,score,trained,seconds,megabytes,kilobytes\na,b,val\n', 'not as many cells'),
        ('config,task,split,score,trained,seconds,megabytes,kilobytes\na,b,val,1,1,1,1,1,1\n', 'not as many cells'),
        ('\x00\udcff', 'damaged'),
    ],
)
def test_tables_that_are_none(tmp_path, text, match):
    (tmp_path / 'trials.csv').write_bytes(text.encode('utf-8', 'surrogateescape'))
    with pytest.raises(ValueError, match=rf'^{tmp_path}/trials\.csv.*{match}'):
        read_rows(tmp_path / 'trials.csv')


@pytest.mark.parametrize('name', ['../elsewhere', '/etc', 'a/../../b'])
def test_paths_stay_inside(tmp_path, name):
    with pytest.raises(ValueError, match=r'results\.json is refused: it names .*, which is outside of'):
        inside(tmp_path, name, 'task')
    (tmp_path / 'results.json').write_text(json.dumps([{**OUTCOME, 'leaf': name}]))
    with pytest.raises(ValueError, match='is outside of'):
        read([tmp_path])


def test_pictures_stay_inside(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    sections = [Section('a', '', [Picture('curve_/../../away', 'b', Figure(figsize=(1, 1)))])]
    monkeypatch.setattr('vptx.studies.report._sections', lambda *_: iter(sections))
    write(Found([], []), tmp_path / 'out')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'curve_-..-..-away.png',
        'report.html',
        'report.md',
    ]
    assert [path.name for path in tmp_path.iterdir()] == ['out']


def test_a_config_comes_back_with_its_tuples(tmp_path):
    config = Config({**tiny_config(tmp_path), 'a': (1, [2, (3,)]), 'b': {'c': None}})
    (tmp_path / 'config.json').write_text(config_text(config, weights='12'))
    found = read_config(tmp_path / 'config.json')
    expected = config.to_dict()
    expected.pop('custom_imports')
    assert found.to_dict() == expected


@pytest.mark.parametrize(
    ('path', 'value', 'match'),
    [
        ('model', dict(type='os.system', command='touch target'), "asks for 'os.system', which is no registered class"),
        ('model.backbone', dict(type='subprocess.Popen', args=['x']), "'subprocess.Popen'"),
        ('model.backbone', dict(type='mmengine.call_command', cmd=['x']), "'mmengine.call_command'"),
        ('model.backbone.net.type', 'runs', "'runs'"),
        ('model.backbone.net.weights', 'http://127.0.0.1/a.pth', 'Nothing is fetched because a file says so'),
        ('model.backbone.net.model', 'hf-hub:somebody/net', 'Nothing is fetched because a file says so'),
        ('model.head.trust_remote_code', True, 'Nothing is fetched'),
        ('model.backbone.net.pretrained', True, 'Nothing is fetched'),
        ('custom_hooks', [dict(type='antigravity')], "'antigravity'"),
        ('test_dataloader.dataset.pipeline', [dict(type='builtins.open')], "'builtins.open'"),
    ],
)
def test_a_config_that_asks_for_code_or_addresses(tmp_path, path, value, match):
    config = Config(tiny_config(tmp_path))
    part, _, name = path.rpartition('.')
    owner = config
    for key in filter(None, part.split('.')):
        owner = owner[key]
    owner[name] = value
    (tmp_path / 'config.json').write_text(config_text(config))
    with pytest.raises(ValueError, match=rf'^{tmp_path}/config\.json is refused: .*{match}'):
        read_config(tmp_path / 'config.json')


WEIGHTS = 'timm://vit_base_patch16_224.augreg_in21k'


@pytest.mark.parametrize('cached', [False, True])
def test_published_weights_must_be_in_the_cache_unless_downloads_are_allowed(tmp_path, monkeypatch, cached):
    monkeypatch.setattr(records, 'is_cached', lambda source: cached)
    config = Config(tiny_config(tmp_path))
    config.model.backbone.net.weights = WEIGHTS
    path = tmp_path / 'config.json'
    path.write_text(config_text(config))
    assert read_config(path, download=True).model.backbone.net.weights == WEIGHTS
    if cached:
        assert read_config(path).model.backbone.net.weights == WEIGHTS
    else:
        with pytest.raises(ValueError, match=f"{path} is refused: it asks for '{WEIGHTS}', which is not in the cache"):
            read_config(path)


def test_a_result_of_other_settings_is_none_of_this_run(tmp_path):
    run = Run(tmp_path, 'a', Config(), {'base_lr': 1.0, 'layers': (0, 1)}, 'val')
    run.write(Trial(run.point, 40.0))
    assert run.read().score == 40.0
    for point in ({'base_lr': 'fast'}, {'base_lr': 2.0, 'layers': [0, 1]}, {}):
        run.write(Trial(point, 40.0))
        with pytest.raises(ValueError, match=rf'^{tmp_path}/a/result\.json is of the settings .*, not of .*base_lr'):
            run.read()


def test_a_result_is_read_again_when_its_file_has_changed(tmp_path, monkeypatch):
    run = Run(tmp_path, 'a', Config(), {'base_lr': 1.0}, 'val')
    assert run.read() is None
    run.write(Trial(run.point, 40.0))
    assert run.read().score == 40.0
    with monkeypatch.context() as patch:
        patch.setattr('vptx.studies.trials.read_json', lambda path: pytest.fail('read again'))
        assert run.read().score == 40.0
    run.write(Trial(run.point, 50.0))
    assert run.read().score == 50.0
    (tmp_path / 'a' / 'result.json').write_text('{')
    for _ in range(2):
        with pytest.raises(ValueError, match='cannot be read'):
            run.read()
    (tmp_path / 'a' / 'result.json').unlink()
    assert run.read() is None
