"""What studies found, as papers show it: a page of HTML that needs no other file, and the same as Markdown.

    tables          base, new, H and all classes at once; method by task, with means of complete groups and both means
                    of a suite; the same of configs with variants, such as ablations; wins against full fine-tuning;
                    what is trained, stored and spent
    comparison      means with standard errors, and differences to chosen methods in pairs of task and seed, corrected
                    for their number; what the best epoch on the test split adds to the last one
    significance    paired one-sided t-test and Wilcoxon signed-rank test over tasks, between methods (scipy)
    curves          test accuracy over the variants of a config; what validation said along every axis of a grid
    tokens          what methods make of the images of a task: class tokens by t-SNE, and what they attend to
    missing         whatever is not there, by name: no mean is taken over half a group

Read are the files that ``tools/experiment.py`` and ``tools/sweep.py`` leave.
"""

import html
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import mean, median

import numpy as np
from matplotlib.figure import Figure

from vptx.analysis.tokens import attention_shares, batches_of, draw_shares, draw_tsne, features
from vptx.apis import init_model
from vptx.datasets import TASKS
from vptx.files import read_json, write_whole
from vptx.metrics import harmonic_mean
from vptx.studies.evidence import Difference, Scores, compare, error, error_of_mean, gain_of_best, holm
from vptx.studies.figures import draw_accuracies, draw_curve, is_number, png
from vptx.studies.paper import PAPER, PAPER_GROUPS
from vptx.studies.paper_clip import BASE_TO_NEW, CITED, MEAN, OTHER_TASKS
from vptx.studies.protocol import final_config
from vptx.studies.records import as_record, inside, read_config, read_rows
from vptx.studies.results import STAR, Outcome, families, group_means, spread, table
from vptx.studies.trials import name_of

__all__ = [
    'AGAINST',
    'Found',
    'best_epochs',
    'comparison',
    'curves',
    'means_with_errors',
    'read',
    'significance',
    'write',
]

DASH = '-'
MEANS = ('mean of groups', 'mean of tasks')
PARTIAL = 'mean of these'
#: Methods to which others are compared, where they are there.
AGAINST = ('vpt_deep', 'lora')


@dataclass
class Found:
    """What lies in the folders of some studies.

    Attributes:
        outcomes: one for each method and task.
        trials: one row of ``trials.csv`` for each run, as text.
        folders: method and task -> the folder of its study.
    """

    outcomes: list[Outcome]
    trials: list[dict[str, str]]
    folders: dict[tuple[str, str], Path] = field(default_factory=dict)

    def methods(self) -> list[str]:
        return list(dict.fromkeys(o.method for o in self.outcomes))

    def plain(self) -> list[str]:
        """Methods that are no variants."""
        return list(dict.fromkeys(o.method for o in self.outcomes if not o.variant))

    def halves(self) -> list[str]:
        """Methods that are judged on base and new classes apart."""
        return list(dict.fromkeys(o.method for o in self.outcomes if o.parts))

    def tasks(self) -> list[str]:
        """In the order of the papers' tables; those of no suite come last."""
        order = list(TASKS)
        there = dict.fromkeys(o.task for o in self.outcomes)
        return sorted(there, key=lambda task: order.index(task) if task in TASKS else len(order))

    def of(self, method: str) -> dict[str, Outcome]:
        return {o.task: o for o in self.outcomes if o.method == method}

    def reached(self, method: str) -> dict[str, list[float]]:
        """Test accuracies of each task that has some, in per cent, in the order of ``tasks``."""
        of = self.of(method)
        return {task: of[task].test for task in self.tasks() if task in of and of[task].test}

    def means(self, method: str) -> dict[str, float]:
        """Those, averaged over the seeds."""
        return {task: mean(test) for task, test in self.reached(method).items()}

    def final(self, method: str) -> list[dict[str, str]]:
        """Its runs on the test split."""
        return [row for row in self.trials if row['config'] == method and row['split'] == 'test' and row['score']]

    def scores(self, method: str, column: str = 'score') -> dict[str, dict[int, float]]:
        """Of these runs, the score or another column, by task and seed."""
        found: dict[str, dict[int, float]] = {}
        for row in self.final(method):
            if row.get(column) and row.get('seed'):
                found.setdefault(row['task'], {})[int(row['seed'])] = float(row[column])
        return found


def read(folders: Sequence[str | Path]) -> Found:
    """What studies left in some folders, together.

    Raises:
        FileNotFoundError: a folder without results.
        ValueError: a damaged file, by its name; two folders have the same method on the same task.
    """
    found = Found([], [])
    for folder in map(Path, folders):
        if not (folder / 'results.json').is_file():
            raise FileNotFoundError(
                f'there is no {folder / "results.json"}: give the --out of vptx experiment or vptx sweep'
            )
        rows = read_json(folder / 'results.json')
        if not isinstance(rows, list):
            raise ValueError(f'{folder / "results.json"} is damaged: it is no list of outcomes')
        for o in (as_record(Outcome, row, folder / 'results.json') for row in rows):
            if (o.method, o.task) in found.folders:
                raise ValueError(f'{o.method} on {o.task} is in several of {", ".join(map(str, folders))}')
            found.outcomes.append(o)
            found.folders[o.method, o.task] = inside(folder, o.method, o.task)
        found.trials += read_rows(folder / 'trials.csv')
    return found


# ------------------------------------------------------------------------------------------------------ tables


def _short(methods: Sequence[str]) -> dict[str, str]:
    """Methods without what the names of all begin with: ``vitb16_in21k_vpt_deep`` -> ``vpt_deep``."""
    parts = [method.split('_') for method in methods]
    shared = 0
    while len(methods) > 1 and all(len(p) > shared + 1 and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    return {method: '_'.join(p[shared:]) for method, p in zip(methods, parts, strict=True)}


def _baseline(method: str, methods: Sequence[str]) -> str | None:
    """Full fine-tuning of the same network, by the names of configs: what papers count wins against."""
    parts = method.split('_')
    for other in methods:
        *network, last = other.split('_')
        if last == 'full' and parts[: len(network)] == network:
            return other
    return None


def accuracies(found: Found, methods: Sequence[str]) -> str:
    """Method by task, for each suite: means over the seeds, the best of a column in bold; below a method, in italics,
    the paper's where it has the same."""
    short, parts = _short(methods), []
    holes = {(o.method, o.task) for o in found.outcomes if o.missing and o.method in methods}
    for suite in dict.fromkeys(map(_suite, found.tasks())):
        tasks = [t for t in found.tasks() if _suite(t) == suite and any(t in found.of(m) for m in methods)]
        rows = {m: _with_means(found.means(m), tasks) for m in methods if found.of(m).keys() & set(tasks)}
        best = {column: max(r[column] for r in rows.values() if column in r) for row in rows.values() for column in row}
        columns = [column for column in _columns(tasks) if column in tasks or column in best]
        lines = []
        for method, row in rows.items():
            lines.append([short[method]])
            for column in columns:
                bold = len(rows) > 1 and column in row and row[column] == best[column]
                text = _number(row, column, tasks)
                lines[-1].append((f'**{text}**' if bold else text) + '†' * ((method, column) in holes))
            known = PAPER.get(method) or OTHER_TASKS.get(method, {})
            paper = _with_means(known, tasks) | PAPER_GROUPS.get((method, suite), {})
            if paper.keys() & set(columns):
                cells = (f'*{_number(paper, column, tasks)}*' if column in paper else DASH for column in columns)
                lines.append([f'*{short[method]}, {CITED.get(method, "Jia et al.")}*', *cells])
        if rows:
            head = (column.removeprefix('mini_') if column in tasks else f'*{column}*' for column in columns)
            parts.append(table(['test %', *head], lines))
    if holes:
        parts.append('† not all of its runs are there: see the end. A mean stands only where all of its tasks do.')
    return '\n\n'.join(parts)


def base_to_new(found: Found, methods: Sequence[str]) -> str:
    """Accuracies of base classes, of new ones and of all at once, means over the seeds, next to published ones in
    italics. H of a mean over tasks is that of mean base and mean new."""
    short, lines = _short(methods), []
    suites = {task for task in TASKS if TASKS[task].suite in map(_suite, found.tasks())}
    for method in methods:
        of, published = found.of(method), BASE_TO_NEW.get(method, {})
        tasks = [task for task in found.tasks() if task in of and of[task].test]
        rows = {task: {part: mean(values) for part, values in of[task].parts.items()} for task in tasks}
        if len(tasks) > 1:
            means = {part: mean(row[part] for row in rows.values()) for part in ('base', 'new', 'all')}
            means['H'] = harmonic_mean(means['base'], means['new'])
            rows[MEAN if suites <= set(tasks) else PARTIAL] = means
        for task, row in rows.items():
            numbers = [f'{row[part]:.2f}' for part in ('base', 'new', 'H', 'all')]
            cited = [f'*{number:.2f}*' for number in published.get(task, ())] or [DASH] * 3
            lines.append([short[method], task if task in of else f'*{task}*', *numbers, *cited])
    head = ['test %', 'task', 'base', 'new', 'H', 'all classes', '*base, published*', '*new*', '*H*']
    return table(head, lines, text=2)


def _columns(tasks: Sequence[str]) -> list[str]:
    """Tasks, each group followed by its mean, and the means of all."""
    columns: dict[str, list[str]] = {}
    for task in tasks:
        columns.setdefault(TASKS[task].group if task in TASKS else '', []).append(task)
    return [*(column for group, own in columns.items() for column in (*own, group)), *MEANS, PARTIAL]


def _number(row: Mapping[str, float], column: str, tasks: Sequence[str]) -> str:
    return f'{row[column]:.{1 if column in tasks else 2}f}' if column in row else DASH


def _with_means(reached: Mapping[str, float], tasks: Sequence[str]) -> dict[str, float]:
    """Of those tasks, with the means that can be taken: of groups and suite where they are complete, else of all that
    are shown."""
    row = {task: reached[task] for task in tasks if task in reached}
    row |= group_means(row)
    whole = {name for name, task in TASKS.items() if task.suite in map(_suite, tasks)}
    if len(tasks) > 1 and row.keys() >= set(tasks) and set(tasks) < whole:
        row[PARTIAL] = mean(row[task] for task in tasks)
    return row


def _plain(task: str) -> str:
    return task.removeprefix('mini_')


def _suite(task: str) -> str:
    return TASKS[task].suite if task in TASKS else ''


def ranges(found: Found) -> str:
    """Every cell with its range over seeds, and what validation chose."""
    short = _short(found.methods())
    lines = [
        [short[o.method], _plain(o.task), _point(o), f'{o.val:.1f}', spread(o.test) or DASH, str(len(o.test))]
        for o in found.outcomes
    ]
    note = (
        f'\n\n{STAR} the smallest or the largest of its rates: another may be better.'
        if any(o.at_edge for o in found.outcomes)
        else ''
    )
    return table(['method', 'task', 'chosen on val', 'val %', 'test %, mean (range)', 'seeds'], lines, text=3) + note


def _point(o: Outcome) -> str:
    if o.point is None:
        return DASH
    words = [f'{key.rpartition(".")[2]} {value:g}' if isinstance(value, float) else f'{key.rpartition(".")[2]} {value}'
             for key, value in o.point.items()]  # fmt: skip
    return ', '.join(words) + STAR * o.at_edge


def costs(found: Found) -> str:
    """Wins against full fine-tuning, what is trained, stored and spent."""
    short, lines = _short(found.methods()), []
    for method, name in short.items():
        reached, rows = found.means(method), found.final(method)
        full = _baseline(method, found.methods())
        against = found.means(full) if full else {}
        both = reached.keys() & against.keys()
        wins = DASH if method == full or not both else f'{sum(reached[t] > against[t] for t in both)} of {len(both)}'
        one_each = {row['task']: float(row['kilobytes']) for row in rows}
        lines.append(
            [
                name,
                wins,
                f'{median(float(row["trained"]) for row in rows):,.0f}' if rows else DASH,
                f'{median(one_each.values()):,.0f}' if rows else DASH,
                f'{sum(one_each.values()):,.0f} ({len(one_each)})' if rows else DASH,
                f'{median(float(row["seconds"]) for row in rows):,.0f}' if rows else DASH,
                f'{median(float(row["megabytes"]) for row in rows):,.0f}' if rows else DASH,
            ]
        )
    head = ['method', 'tasks won against full', 'trained', 'kB for a task', 'kB for all (tasks)', 's for a run', 'MB']
    return (
        table(head, lines)
        + '\n\nMedians over the runs on the test split. Seconds are of whatever machine ran them, as busy as it was; '
        'megabytes are the most memory of the GPU, or of the process where there is none.'
    )


# ------------------------------------------------------------------------------------------------ significance


def significance(found: Found) -> list[tuple[str, str, int, float, float, float]]:
    """For each two methods with at least two tasks in common: better, worse, number of tasks, mean difference in
    points, p of the paired one-sided t-test, p of the Wilcoxon signed-rank test. The alternative of both is that the
    first is better; tasks are the pairs, means over the seeds are what is compared. Variants are compared with those of
    the same config, and with the same variant of another."""
    from scipy.stats import ttest_rel, wilcoxon

    tests = []
    kinds = {o.method: (o.config, o.variant) for o in found.outcomes}
    for one, other in combinations(found.methods(), 2):
        if not any(mine == paper for mine, paper in zip(kinds[one], kinds[other], strict=True)):
            continue
        a, b = found.means(one), found.means(other)
        tasks = [task for task in a if task in b]
        gains = [a[task] - b[task] for task in tasks]
        if len(tasks) < 2 or not any(gains):
            continue
        better, worse, (x, y) = (one, other, (a, b)) if sum(gains) >= 0 else (other, one, (b, a))
        xs, ys = [x[task] for task in tasks], [y[task] for task in tasks]
        t = ttest_rel(xs, ys, alternative='greater').pvalue
        w = wilcoxon(xs, ys, alternative='greater').pvalue
        tests.append((better, worse, len(tasks), abs(mean(gains)), float(t), float(w)))
    return tests


# -------------------------------------------------------------------------------------------------- comparison


def _by_net(found: Found) -> dict[str, dict[str, str]]:
    """Network -> name of a method on it -> method."""
    nets: dict[str, dict[str, str]] = {}
    for o in found.outcomes:
        nets.setdefault(o.net, {})[o.variant or o.leaf] = o.method
    return nets


def comparison(found: Found, against: Sequence[str]) -> str:
    """For each network a row for each method: its mean over the tasks, and the differences to the methods ``against``.

    A mean stands only where all tasks with all seeds are there; what is there of others is compared all the same, and
    the number of tasks is said.
    """
    parts, tasks = [], found.tasks()
    for net, methods in _by_net(found).items():
        baselines = [name for name in against if name in methods]
        scores = {name: found.scores(method) for name, method in methods.items()}
        if not baselines or len(methods) < 2:
            continue
        cells = [_against(scores, baseline, len(tasks)) for baseline in baselines]
        lines = []
        for name, method in methods.items():
            lines.append([name, *means_with_errors(found, method, tasks)])
            for column in cells:
                lines[-1] += column.get(name, [DASH] * 3)
            rows = found.final(method)
            for fact in ('trained', 'processor', 'megabytes'):
                values = [float(row[fact]) for row in rows if row.get(fact)]
                lines[-1].append(f'{median(values):,.0f}' if values else DASH)
        head = [net or 'method', 'mean of groups', 'mean of tasks']
        for baseline in baselines:
            head += [f'less {baseline}', 'p, seeds', 'p, tasks']
        parts.append(table([*head, 'trained', 's of processor', 'MB'], lines))
    return '\n\n'.join([*parts, COMPARED]) if parts else ''


def _against(scores: Mapping[str, Scores], baseline: str, tasks: int) -> dict[str, list[str]]:
    """Of each other method: difference to the baseline, and both p."""
    pairs: dict[str, Difference] = {}
    for name in scores:
        found = compare(scores[name], scores[baseline]) if name != baseline else None
        if found is not None:
            pairs[name] = found
    over_seeds = holm({name: found.seeds for name, found in pairs.items()})
    over_tasks = holm({name: found.tasks for name, found in pairs.items()})
    return {
        name: [
            f'{found.mean:+.2f} ± {found.error:.2f}' + f' ({found.number} tasks)' * (found.number < tasks),
            f'{over_seeds[name]:.2g}',
            f'{over_tasks[name]:.2g}',
        ]
        for name, found in pairs.items()
    }


COMPARED = (
    'Test accuracy in per cent, ± a standard error that counts seeds and test images; differences in points, paired by '
    'task and seed, ± a standard error over seeds. Both p are two-sided and corrected for the number of methods '
    '(Holm): of other seeds on these tasks, and of other tasks. Seconds of processor time for a training run, and the '
    'most memory of its process, are medians of the runs on the test split.'
)


def means_with_errors(found: Found, method: str, tasks: Sequence[str]) -> list[str]:
    """Mean of groups and mean of tasks; a dash where runs are missing."""
    of, reached = found.of(method), found.reached(method)
    complete = [task for task in tasks if task in reached and not of[task].missing]
    if len(complete) < len(tasks):
        return [DASH, f'{len(complete)} of {len(tasks)} tasks']
    errors = {task: error(test, _images(task, of[task])) for task, test in reached.items()}
    groups: dict[str, list[float]] = {}
    for task in tasks:
        groups.setdefault(TASKS[task].group if task in TASKS else task, []).append(errors[task])
    means = group_means(found.means(method))
    of_groups = DASH
    if MEANS[0] in means:
        of_groups = f'{means[MEANS[0]]:.2f} ± {error_of_mean(map(error_of_mean, groups.values())):.2f}'
    return [of_groups, f'{mean(map(mean, reached.values())):.2f} ± {error_of_mean(errors.values()):.2f}']


def _images(task: str, o: Outcome) -> int | None:
    """Test images, where the score is a share of them."""
    return TASKS[task].sizes[2] if task in TASKS and o.metric == 'accuracy' else None


def best_epochs(found: Found) -> str:
    """What picking the best of the tested epochs gives, next to the last epoch; nothing where no run has been tested
    between epochs."""
    lines = []
    for net, methods in _by_net(found).items():
        all_gains = []
        for name, method in methods.items():
            last, best = found.scores(method), found.scores(method, 'best')
            found_gain = gain_of_best(last, best)
            if found_gain is None:
                continue
            points, of_points, runs = found_gain
            seen = {task: [last[task][seed] for seed in seeds] for task, seeds in best.items()}
            low = mean(map(mean, seen.values()))
            lines.append(
                [net, name, f'{low:.2f}', f'{low + points:.2f}', f'{points:+.2f} ± {of_points:.2f}', str(runs)]
            )
            all_gains.append((points, runs))
        if len(all_gains) > 1:
            points = mean(points for points, _ in all_gains)
            lines.append([net, '*all*', '', '', f'**{points:+.2f}**', str(sum(runs for _, runs in all_gains))])
    if not lines:
        return ''
    head = ['network', 'method', 'last epoch', 'best epoch on test', 'points that the choice gives', 'runs']
    note = (
        'The same runs, read in two ways. The settings were chosen on validation in both; public codes often choose '
        'them on the test split, too, which adds to this.'
    )
    return f'{table(head, lines, text=2)}\n\n{note}'


def _significance(found: Found) -> str:
    short, tests, plain = _short(found.methods()), significance(found), found.plain()
    if not tests:
        return 'No two methods that could be compared have two tasks in common.'
    lines: dict[bool, list[list[str]]] = {}
    for better, worse, tasks, gain, t, w in tests:
        line = [f'{short[better]} > {short[worse]}', str(tasks), f'{gain:+.2f}', f'{t:.2g}', f'{w:.2g}']
        lines.setdefault(better in plain, []).append(line)
    few = min(tasks for _, _, tasks, *_ in tests)
    note = (
        f'\n\nWith {few} tasks the Wilcoxon test cannot fall below {0.5**few:.2g}. ' if few < 6 else '\n\n'
    ) + 'The direction was chosen by looking, and nothing is corrected for the number of tests.'
    head = ['pair', 'tasks', 'mean gain', 'p, t-test', 'p, Wilcoxon']
    return '\n\n'.join(table(head, lines[which]) for which in (True, False) if which in lines) + note


# ------------------------------------------------------------------------------------------------------ curves

# Columns of trials.csv that say what came out, or which study it was; the rest are axes of a grid.
_FACTS = {
    *('config', 'task', 'split', 'score', 'trained', 'error', 'stopped', 'seed', 'seconds', 'megabytes'),
    *('kilobytes', 'processor', 'best'),
}


def curves(found: Found) -> dict[str, dict[str, dict[str, list[tuple[str, float]]]]]:
    """axis -> method -> task -> (value, validation accuracy in per cent): each value at the best of the other axes.

    Axes with one value are none, and variants have a curve of their own. Numbers are in ascending order, whatever else
    in that of the runs.
    """
    short = {method: name for method, name in _short(found.methods()).items() if method in found.plain()}
    reached: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in found.trials:
        if row['split'] != 'val' or not row['score'] or row['config'] not in short:
            continue
        for axis, value in row.items():
            if axis not in _FACTS and value:
                line = reached.setdefault((axis, short[row['config']], row['task']), {})
                line[value] = max(line.get(value, 0.0), float(row['score']))
    result: dict[str, dict[str, dict[str, list[tuple[str, float]]]]] = {}
    for (axis, method, task), line in reached.items():
        if len(line) > 1:
            points = sorted(line.items(), key=lambda p: float(p[0])) if all(map(is_number, line)) else [*line.items()]
            result.setdefault(axis, {}).setdefault(method, {})[task] = points
    return result


def _over_variants(found: Found, configs: Sequence[str]) -> dict[str, dict[str, list[tuple[str, float]]]]:
    """config -> task -> (variant, test accuracy in per cent)."""
    lines: dict[str, dict[str, list[tuple[str, float]]]] = {config: {} for config in configs}
    for o in found.outcomes:
        if o.config in lines and o.variant and o.test:
            lines[o.config].setdefault(o.task, []).append((o.variant, mean(o.test)))
    return lines


# ------------------------------------------------------------------------------------------------------ tokens


def _look(found: Found, task: str, download: bool) -> 'Section':
    """What the methods make of images of the task's test split; variants, which are many, where there is nothing else.

    Raises:
        ValueError: there is no prompt file of any.
    """
    short = _short(found.methods())
    seen: dict[str, np.ndarray] = {}
    shares: dict[str, np.ndarray] = {}
    for method in found.plain() or found.methods():
        o, folder = found.of(method).get(task), found.folders.get((method, task))
        if o is None or o.point is None or folder is None:
            continue
        for prompt_file in sorted(folder.glob(f'final/{name_of(o.point)}/seed*/prompt.safetensors'))[:1]:
            config = final_config(read_config(folder / 'config.json', download=download), o.point, seed=0)
            model, batches = init_model(config, prompt_file), batches_of(config, 5)
            seen[short[method]], labels = features(model, batches)
            names = model.dataset_meta.get('classes') or [str(label) for label in range(int(labels.max()) + 1)]
            with suppress(ValueError):  # no class token, or no softmax to listen to
                shares[short[method]] = attention_shares(model, batches)
    if not seen:
        missing = [f'{o.method}: {", ".join(o.missing)}' for o in found.outcomes if o.task == task and o.missing]
        why = f'not there: {"; ".join(missing)}' if missing else f'there are: {found.tasks()}'
        raise ValueError(f"no run on the test split of '{task}' has left a prompt file; {why}")
    figures = [
        Picture(
            f'tsne_{task}',
            f'What the head sees of {len(labels)} images of the test split, by t-SNE, coloured by class; first seed.',
            draw_tsne(seen, labels, names),
        )
    ]
    if shares:
        caption = 'What the class token attends to in each layer, on average over heads and these images.'
        figures.append(Picture(f'attention_{task}', caption, draw_shares(shares)))
    return Section(f'Tokens of {_plain(task)}', '', figures)


# -------------------------------------------------------------------------------------------------------- page


def _missing(found: Found) -> str:
    untouched: dict[str, list[str]] = {}
    for o in found.outcomes:
        if o.missing and o.point is None and not o.diverged:
            untouched.setdefault(o.method, []).append(o.task)
    untouched = {method: tasks for method, tasks in untouched.items() if len(tasks) > 2}  # of fewer, their runs
    lines = [
        f'- {o.method}, {o.task}: {", ".join(o.missing)}'
        for o in found.outcomes
        if o.missing and o.task not in untouched.get(o.method, ())
    ]
    lines += [f'- {method}: nothing yet of {", ".join(tasks)}' for method, tasks in untouched.items()]
    cells = [(method, task) for method in found.methods() for task in found.tasks() if task not in found.of(method)]
    lines += [f'- {method}, {task}: never asked for' for method, task in cells if _suite(task)]
    broke = sum(o.diverged for o in found.outcomes)
    stopped = sum(o.stopped for o in found.outcomes)
    if broke:
        lines.append(f'- {broke} points of grids broke off, as too high a rate does; they were tried and not chosen')
    if stopped:
        lines.append(f'- {stopped} points of grids were stopped early, because others of their study did better')
    return '\n'.join(lines) or 'Nothing.'


@dataclass
class Picture:
    """A figure of a report.

    Attributes:
        name: what it shows; its file is called after it.
        caption: below the figure.
        figure: of matplotlib.
    """

    name: str
    caption: str
    figure: Figure


@dataclass
class Section:
    """A section of a report.

    Attributes:
        name: its heading.
        text: below the heading, as Markdown.
        pictures: below the text.
    """

    name: str
    text: str
    pictures: Sequence[Picture] = ()


def _sections(found: Found, look: Sequence[str], download: bool, against: Sequence[str]) -> Iterator[Section]:
    short, halves = _short(found.methods()), found.halves()
    plain = [method for method in found.plain() if method not in halves]
    if halves:
        yield Section('Base and new classes', base_to_new(found, halves))
    drawn = {short[method]: reached for method in plain if (reached := found.reached(method))}
    if plain:
        caption = 'Mean over the seeds, with a bar from the lowest to the highest.'
        pictures = [Picture('accuracies', caption, draw_accuracies(drawn))] if drawn else []
        yield Section('Test accuracy', accuracies(found, plain), pictures)
    for configs in families(found.outcomes).values():
        methods = [m for m in found.methods() if any(o.config in configs for o in found.of(m).values())]
        lines = {config: tasks for config, tasks in _over_variants(found, configs).items() if tasks}
        caption = 'Test accuracy, mean over the seeds: a thin line for each task, a bold one for their mean.'
        name = ', '.join(configs)
        picture = Picture(f'variants_{"_".join(configs)}', caption, draw_curve(lines, name, 'test accuracy, %'))
        yield Section(name, accuracies(found, methods), [picture] if lines else [])
    if text := comparison(found, against):
        yield Section('Methods compared', text)
    if text := best_epochs(found):
        yield Section('Last epoch, and best epoch on the test split', text)
    yield Section('Cost', costs(found))
    yield Section('Significance', _significance(found))
    pictures = [
        Picture(
            f'curve_{axis.rpartition(".")[2]}',
            'Validation accuracy of one seed, each value at the best of the other axes: a thin line for each task, a '
            'bold one for their mean.',
            draw_curve(lines, axis, 'validation accuracy, %'),
        )
        for axis, lines in curves(found).items()
    ]
    if pictures:
        yield Section('Along the grid', '', pictures)
    for task in look:
        yield _look(found, task, download)
    yield Section('Every cell', ranges(found))
    yield Section('What is not there', _missing(found))


def write(
    found: Found,
    out: str | Path,
    title: str = 'Report',
    look: Sequence[str] = (),
    download: bool = False,
    against: Sequence[str] = AGAINST,
) -> None:
    """Write ``report.html``, with its figures inside, and ``report.md``, with its figures next to it, into ``out``.

    Args:
        found: of ``read``.
        out: folder.
        title: of the page.
        look: tasks whose class tokens are drawn, and what they attend to, of every method with a prompt file.
        download: whether weights that timm publishes are downloaded for that, where they are not in the cache.
        against: methods, by the name of their config or variant, to which the others are compared.

    Raises:
        ValueError: a task to look at of which there is no prompt file, or whose config asks for code, addresses or
            weights that are not in the cache (``read_config``).
    """
    out, sections = Path(out), list(_sections(found, look, download, against))
    seeds = sum(len(o.test) for o in found.outcomes)
    summary = f'Methods: {len(found.methods())}. Tasks: {len(found.tasks())}. Runs on the test split: {seeds}.'
    markdown = [f'# {title}', summary]
    page = [f'<h1>{html.escape(title)}</h1>', f'<p>{summary}</p>', _contents(sections)]
    for number, section in enumerate(sections):
        markdown += [f'## {section.name}', *filter(None, [section.text])]
        page += [f'<h2 id="s{number}">{html.escape(section.name)}</h2>', _html(section.text)]
        for picture in section.pictures:
            drawn, width = png(picture.figure), 96 * picture.figure.get_figwidth()
            file = re.sub(r'[^\w.=+-]', '-', picture.name) + '.png'  # names of methods and axes come out of files
            write_whole(out / file, drawn)
            markdown += [f'![{picture.name}]({file})', picture.caption]
            source = f'data:image/png;base64,{b64encode(drawn).decode()}'
            page.append(
                f'<figure><img alt="{html.escape(picture.name)}" width="{width:.0f}" src="{source}">'
                f'<figcaption>{html.escape(picture.caption)}</figcaption></figure>'
            )
    write_whole(out / 'report.md', ('\n\n'.join(markdown) + '\n').encode())
    write_whole(out / 'report.html', (_HEAD.format(title=html.escape(title)) + '\n'.join(page) + '\n').encode())


_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 86em; margin: 2em auto; padding: 0 1.5em; color: #222 }}
h2 {{ margin: 2.2em 0 .6em }}
nav {{ display: flex; flex-wrap: wrap; gap: .2em 1.4em }}
a {{ color: #0072b2; text-decoration: none }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums }}
th, td {{ padding: .25em .6em; text-align: left; border-bottom: 1px solid #e4e4e4; white-space: nowrap }}
th {{ border-bottom: 2px solid #222; vertical-align: bottom }}
.n {{ text-align: right }}
th:first-child, td:first-child {{ position: sticky; left: 0; background: #fff; padding-left: 0 }}
th em, td em {{ color: #666 }}
.wide {{ font-size: 13.5px }}
.wide th:not(:first-child), .wide td:not(:first-child) {{ padding: .25em .42em }}
.wide th.n span {{ writing-mode: vertical-rl; transform: rotate(180deg); padding: .4em 0 }}
tbody tr:hover td {{ background: #f4f7fa }}
figure {{ margin: 1.6em 0 }}
img {{ max-width: 100%; height: auto }}
figcaption, .note {{ color: #666; font-size: 14px; max-width: 52em }}
summary {{ cursor: pointer; color: #0072b2 }}
</style>
"""
# Rows that a table shows without being asked, and columns whose headings still fit side by side.
SHOWN, COLUMNS = 30, 9


def _contents(sections: Iterable[Section]) -> str:
    links = (f'<a href="#s{number}">{html.escape(section.name)}</a>' for number, section in enumerate(sections))
    return f'<nav>{"".join(links)}</nav>'


def _html(text: str) -> str:
    """The little Markdown that is written above: tables, lists, paragraphs, emphasis."""
    parts = []
    for block in filter(None, text.split('\n\n')):
        lines = block.splitlines()
        if block.startswith('|'):
            head, rule, *rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
            kinds = [' class="n"' if mark.endswith(':') else '' for mark in rule]
            wide = ' class="wide"' if len(head) > COLUMNS else ''
            made = f'<table{wide}><thead>{_row(head, kinds, "th")}</thead><tbody>'
            made += ''.join(_row(row, kinds, 'td') for row in rows) + '</tbody></table>'
            many = len(rows) > SHOWN
            parts.append(f'<details><summary>{len(rows)} rows</summary>{made}</details>' if many else made)
        elif block.startswith('- '):
            parts.append(f'<ul>{"".join(f"<li>{_inline(line[2:])}</li>" for line in lines)}</ul>')
        else:
            parts.append(f'<p class="note">{_inline(block)}</p>')
    return '\n'.join(parts)


def _row(cells: Sequence[str], kinds: Sequence[str], tag: str) -> str:
    made = (f'<{tag}{kind}><span>{_inline(cell)}</span></{tag}>' for cell, kind in zip(cells, kinds, strict=True))
    return f'<tr>{"".join(made)}</tr>'


def _inline(text: str) -> str:
    text = re.sub(r'(?<!\\)\*\*(.+?)\*\*', r'<b>\1</b>', html.escape(text))
    text = re.sub(r'(?<!\\)\*(.+?)(?<!\\)\*', r'<em>\1</em>', text)
    return text.replace('\\*', '*')
