"""The report, from files as studies leave them: its tables worked out by hand, its holes told, its page whole."""

import json
from dataclasses import asdict

import pytest
from PIL import Image
from runs import write_weights
from scipy.stats import t as student
from suites import write_vtab
from test_protocol import config_file

from vptx.datasets import TASKS
from vptx.studies.paper import PAPER, PAPER_GROUPS
from vptx.studies.protocol import experiment, studies
from vptx.studies.report import accuracies, best_epochs, comparison, costs, curves, ranges, read, significance, write
from vptx.studies.results import Outcome, group_means
from vptx.studies.trials import write_table

MINI = [name for name, task in TASKS.items() if task.suite == 'mini']
VTAB = [name for name, task in TASKS.items() if task.suite == 'vtab']


def leave(folder, accuracy, methods=('mini_full', 'mini_linear', 'mini_vpt_deep'), tasks=MINI, config=None):
    """Results of three seeds, ``accuracy(method, task)`` give or take one; methods may be variants of a config."""
    outcomes, rows = [], []
    for method in methods:
        leaf, variant = (config, method.removeprefix(f'{config}_')) if config else (method, '')
        for task in tasks:
            middle = accuracy(method, task)
            if middle is None:
                outcomes.append(Outcome(leaf, task, missing=['select/base_lr=1'], variant=variant))
                continue
            seeds = [middle - 1, middle, middle + 1]
            outcomes.append(Outcome(leaf, task, {'base_lr': 2.0}, 50.0, seeds, variant=variant, at_edge=True))
            facts = dict(config=method, task=task, trained=100, seed=1, seconds=2.0, megabytes=30.0, kilobytes=4.0)
            rows += [dict(facts, split='val', score=40 + lr, base_lr=lr, num_tokens=5) for lr in (1.0, 2.0)]
            rows.append(dict(facts, split='val', score=41.5, base_lr=1.0, num_tokens=50))
            rows += [dict(facts, split='test', score=middle + i, base_lr=2.0, num_tokens=5) for i in (-1, 0, 1)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'results.json').write_text(json.dumps([asdict(o) for o in outcomes]))
    write_table(folder / 'trials.csv', rows)
    return folder


def cells(table):
    """First column -> column -> text."""
    head, _, *lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]
    return {line[0]: dict(zip(head[1:], line[1:], strict=True)) for line in lines}


def by_place(method, task):
    """full: 50; linear: 40 to 49; deep: two to ten points above full, but for the first task, where it is behind."""
    gain = MINI.index(task) + 1 if task != MINI[0] else -1
    return dict(mini_full=50.0, mini_linear=40.0 + MINI.index(task), mini_vpt_deep=50.0 + gain)[method]


def test_tables(tmp_path):
    found = read([leave(tmp_path, by_place)])
    deep = cells(accuracies(found, found.methods()))['vpt_deep']
    assert deep['digits'] == '49.0' and deep['location'] == '**60.0**'  # the best of the three
    assert deep['*Natural*'] == '**51.33**' and deep['*Structured*'] == '**58.50**'
    assert deep['*mean of groups*'] == '**54.94**' and deep['*mean of tasks*'] == '**55.30**'
    cost = cells(costs(found).split('\n\n')[0])
    assert cost['vpt_deep'] == {
        'tasks won against full': '9 of 10',
        'trained': '100',
        'kB for a task': '4',
        'kB for all (tasks)': '40 (10)',
        's for a run': '2',
        'MB': '30',
    }
    assert cost['full']['tasks won against full'] == '-' and cost['linear']['tasks won against full'] == '0 of 10'
    assert 'base_lr 2\\*' in ranges(found) and '49.0 (48.0 to 50.0)' in ranges(found)  # the largest rate of two


def test_wins_are_counted_against_the_same_network(tmp_path):
    level = dict(sup_full=60.0, sup_linear=50.0, mae_full=40.0, mae_linear=45.0, moco_linear=70.0)
    found = read([leave(tmp_path, lambda method, task: level[method], methods=tuple(level))])
    won = {name: row['tasks won against full'] for name, row in cells(costs(found).split('\n\n')[0]).items()}
    assert won == dict(sup_full='-', sup_linear='0 of 10', mae_full='-', mae_linear='10 of 10', moco_linear='-')


def test_significance_is_paired_and_one_sided(tmp_path):
    tests = {test[:2]: test[2:] for test in significance(read([leave(tmp_path, by_place)]))}
    assert set(tests) == {
        ('mini_full', 'mini_linear'),
        ('mini_vpt_deep', 'mini_full'),
        ('mini_vpt_deep', 'mini_linear'),
    }
    tasks, gain, t, w = tests['mini_vpt_deep', 'mini_full']
    assert (tasks, gain) == (10, pytest.approx(5.3))
    # Differences -1, 2, 3, ..., 10: t = 5.3 / (3.40 / sqrt(10)) = 4.93 of 9 degrees of freedom; of the 2^10 signs of
    # ranks only these, the smallest negative, and all positive are as extreme.
    assert t == pytest.approx(student.sf(4.928, 9), rel=0.01) and w == pytest.approx(2 / 1024)
    assert tests['mini_full', 'mini_linear'][3] == pytest.approx(1 / 1024)


def test_what_is_missing_is_told_and_no_mean_is_taken_over_it(tmp_path):
    found = read([leave(tmp_path / 'a', lambda m, t: None if (m, t) == ('mini_linear', 'mini_retina') else 50.0)])
    linear = cells(accuracies(found, found.methods()).split('\n\n')[0])['linear']
    assert linear['retina'] == '-†' and linear['*Specialized*'] == linear['*mean of tasks*'] == '-'
    assert linear['*Natural*'] == '**50.00**'
    write(found, tmp_path / 'out')
    report = (tmp_path / 'out' / 'report.md').read_text()
    assert '- mini_linear, mini_retina: select/base_lr=1' in report
    write(read([leave(tmp_path / 'c', lambda m, t: None if m == 'mini_linear' else 50.0)]), tmp_path / 'out')
    assert f'- mini_linear: nothing yet of {", ".join(MINI)}' in (tmp_path / 'out' / 'report.md').read_text()
    leave(tmp_path / 'b', lambda m, t: 50.0, methods=['mini_bias'], tasks=['mini_tissue'])
    both = read([tmp_path / 'a', tmp_path / 'b'])
    write(both, tmp_path / 'out')
    assert '- mini_bias, mini_retina: never asked for' in (tmp_path / 'out' / 'report.md').read_text()
    with pytest.raises(ValueError, match='mini_bias on mini_tissue is in several of'):
        read([tmp_path / 'b', tmp_path / 'b'])


def test_curves_take_each_value_at_the_best_of_the_others(tmp_path):
    found = curves(read([leave(tmp_path, by_place, methods=['mini_vpt_deep', 'mini_full'])]))
    assert set(found) == {'base_lr', 'num_tokens'}
    assert found['num_tokens']['vpt_deep']['mini_count'] == [('5', 42.0), ('50', 41.5)]
    assert found['base_lr']['vpt_deep']['mini_count'] == [('1.0', 41.5), ('2.0', 42.0)]


def test_variants_have_a_table_and_a_curve_and_are_compared_with_their_like(tmp_path):
    def value(method, task):
        return 50.0 + len(method) * (1 + tasks.index(task))

    tasks = ['mini_count', 'mini_tissue']
    leave(tmp_path / 'a', value, ['depth_1', 'depth_1-2'], tasks, 'depth')
    leave(tmp_path / 'b', value, ['init_1', 'init_mean'], tasks, 'init')
    leave(tmp_path / 'c', value, ['linear'], tasks)
    found = read([tmp_path / name for name in 'abc'])
    assert found.plain() == ['linear']
    assert {test[:2] for test in significance(found)} == {
        ('depth_1-2', 'depth_1'),
        ('init_mean', 'init_1'),
        ('depth_1', 'init_1'),  # the same variant of another config
    }
    assert set(curves(found)['base_lr']) == {'linear'}
    write(found, tmp_path / 'out')
    sections = dict(part.split('\n\n', 1) for part in (tmp_path / 'out/report.md').read_text().split('\n## ')[1:])
    assert list(sections)[:3] == ['Test accuracy', 'depth', 'init']
    depth = cells(sections['depth'].split('\n\n')[0])
    assert depth['1-2'] == {'tissue': '**68.0**', 'count': '**59.0**', '*mean of these*': '**63.50**'}
    assert 'variants_depth.png' in sections['depth'] and (tmp_path / 'out/variants_depth.png').is_file()


def test_the_papers_numbers_stand_beside_ours(tmp_path):
    leave(tmp_path, lambda m, t: 70.0, methods=['vitb16_in21k_vpt_deep'], tasks=['cifar', 'svhn'])
    found = read([tmp_path])
    theirs = cells(accuracies(found, found.methods()))['*vitb16_in21k_vpt_deep, Jia et al.*']
    assert theirs == {'cifar': '*78.8*', 'svhn': '*78.1*', '*mean of these*': '*78.45*'}
    leave(tmp_path, lambda m, t: 70.0, methods=['vitb16_in21k_adapter', 'swinb_in22k_vpt_deep'], tasks=VTAB)
    found = read([tmp_path])
    theirs = cells(accuracies(found, found.methods()))['*swinb_in22k_vpt_deep, Jia et al.*']
    assert (theirs['cifar'], theirs['*Structured*'], theirs['*mean of groups*']) == ('-', '*53.35*', '*71.55*')


@pytest.mark.parametrize('method', PAPER)
def test_the_papers_tasks_agree_with_its_groups(method):
    means = group_means(PAPER[method])
    for group in ('Natural', 'Specialized', 'Structured', 'FGVC'):
        theirs = PAPER_GROUPS[method, 'fgvc' if group == 'FGVC' else 'vtab'][group]
        assert means[group] == pytest.approx(theirs, abs=0.05)


def test_tokens_of_every_method_that_left_a_prompt_file(tmp_path):
    write_vtab(tmp_path / 'data', 'kitti')
    path = config_file(tmp_path, tmp_path / 'data', grid={'base_lr': [1.28]})
    weights = str(write_weights(tmp_path / 'weights.pth'))
    options = {'final.seeds': [1], 'model.backbone.net.weights': weights}
    said = []
    (outcome,) = experiment(studies([path], tmp_path / 'out', options=options), tmp_path / 'out', say=said.append)
    assert not outcome.missing, said
    write(read([tmp_path / 'out']), tmp_path / 'out', look=['kitti'])
    text = (tmp_path / 'out/report.md').read_text()
    assert '## Tokens of kitti' in text and 'sees of 6 images' in text
    assert all((tmp_path / 'out' / f'{name}_kitti.png').is_file() for name in ('tsne', 'attention'))
    with pytest.raises(ValueError, match=r"no run on the test split of 'dmlab' has left a prompt file"):
        write(read([tmp_path / 'out']), tmp_path / 'out', look=['dmlab'])


def test_without_a_prompt_file_the_runs_that_are_missing_are_named(tmp_path):
    found = read([leave(tmp_path, lambda m, t: None if t == 'mini_retina' else 50.0, methods=['mini_vpt_deep'])])
    with pytest.raises(ValueError, match=r"of 'mini_retina' has left .* not there: mini_vpt_deep: select/base_lr=1$"):
        write(found, tmp_path / 'page', look=['mini_retina'])


def test_the_page_needs_no_other_file(tmp_path, start):
    leave(tmp_path, by_place)
    status, output = start('report', tmp_path, '--title', 'Prompts & others', log=tmp_path / 'log')
    assert status == 0 and output.split()[-2:] == [str(tmp_path / 'report.html'), str(tmp_path / 'report.md')]
    page = (tmp_path / 'report.html').read_text()
    assert (
        '<h1>Prompts &amp; others</h1>' in page
        and '<em>mean of tasks</em>' in page
        and '<td class="n"><span><b>55.30</b></span></td>' in page
    )
    assert page.count('src="data:image/png;base64,') == page.count('<img') == 3 and 'http' not in page
    for name in ('accuracies', 'curve_base_lr', 'curve_num_tokens'):
        assert Image.open(tmp_path / f'{name}.png').width > 500
    status, output = start('report', tmp_path / 'nowhere', log=tmp_path / 'log')
    assert status == 1 and 'give the --out of vptx experiment or vptx sweep' in output


def leave_methods(folder, gains, holes=(), nets=('sup', 'mae')):
    """Variants of a config and a plain one on two networks: five seeds at 50 % plus a gain, tested between epochs."""
    outcomes, rows = [], []
    for net in nets:
        for name, gain in gains.items():
            leaf, variant = ('linear', '') if name == 'linear' else ('methods', name)
            for number, task in enumerate(MINI):
                o = Outcome(leaf, task, {'base_lr': 2.0}, 50.0, net=net, variant=variant)
                scores = {seed: 40 + number + gain + 0.2 * (seed % 3) for seed in range(42, 47)}
                if (net, name, task) in holes:
                    o.missing = ['final/base_lr=2/seed46']
                    scores.pop(46)
                o.test = list(scores.values())
                facts = dict(config=o.method, task=task, split='test', trained=100, seconds=2.0, megabytes=300.0)
                facts |= dict(kilobytes=4.0, processor=9.0, base_lr=2.0)
                rows += [dict(facts, seed=s, score=v, best=v + 0.5 * (number % 2)) for s, v in scores.items()]
                outcomes.append(o)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'results.json').write_text(json.dumps([asdict(o) for o in outcomes]))
    write_table(folder / 'trials.csv', rows)
    return folder


def test_methods_are_compared_on_each_network(tmp_path):
    gains = dict(linear=-10.0, vpt_deep=0.0, lora=2.0)
    found = read([leave_methods(tmp_path, gains, holes=[('mae', 'lora', MINI[3])])])
    text = comparison(found, ('vpt_deep', 'lora'))
    sup, mae = text.split('\n\n')[:2]
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in sup.splitlines()]
    assert lines[0][:9] == ['sup', 'mean of groups', 'mean of tasks', *('less vpt_deep', 'p, seeds', 'p, tasks')] + [
        *('less lora', 'p, seeds', 'p, tasks')
    ]
    row = {line[0]: line for line in lines}
    assert row['lora'][3] == '+2.00 ± 0.00' and row['linear'][6] == '-12.00 ± 0.00'
    assert row['vpt_deep'][3:6] == ['-'] * 3 and row['vpt_deep'][9:] == ['100', '9', '300']
    # Ten tasks at about 44.7 %, 500 images each: sqrt(.447 * .553 / 500 / 10) = 0.70 points
    assert row['vpt_deep'][2] == '44.66 ± 0.70'
    (hole,) = (line for line in mae.splitlines() if line.startswith('| lora'))
    assert '| - | 9 of 10 tasks |' in hole  # one lacks a seed: no mean
    assert 'no such' not in text and comparison(found, ('no such method',)) == ''


def test_what_picking_the_best_epoch_gives(tmp_path):
    found = read([leave_methods(tmp_path, dict(linear=0.0, vpt_deep=1.0), nets=['sup'])])
    rows = [line for line in best_epochs(found).splitlines() if line.startswith('| sup')]
    assert rows[0].split(' | ')[1:] == ['linear', '44.66', '44.91', '+0.25 ± 0.00', '50 |']
    assert rows[-1].split(' | ')[1:] == ['*all*', '', '', '**+0.25**', '100 |']
    assert best_epochs(read([leave(tmp_path / 'old', by_place)])) == ''


def test_the_comparison_is_in_the_report(tmp_path, start):
    leave_methods(tmp_path, dict(vpt_deep=0.0, lora=1.0))
    status, output = start('report', tmp_path, '--against', 'lora', log=tmp_path / 'log')
    assert status == 0, output
    page = (tmp_path / 'report.md').read_text()
    assert '## Methods compared' in page and 'less lora' in page and 'less vpt_deep' not in page
    assert '## Last epoch, and best epoch on the test split' in page
