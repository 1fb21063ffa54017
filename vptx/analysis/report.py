"""What studies found, as papers show it: a page of HTML that needs no other file, and the same as Markdown.

    tables          method by task, with means of complete groups and both means of a suite; wins against full
                    fine-tuning; what is trained, stored and spent
    significance    paired one-sided t-test and Wilcoxon signed-rank test over tasks, between methods (scipy)
    curves          what validation said along every axis of a grid, each value at the best of the others
    missing         whatever is not there, by name: no mean is taken over half a group

Read are the files that ``tools/experiment.py`` and ``tools/sweep.py`` leave.
"""

import csv
import html
import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import mean, median
from typing import Any

from mmengine.config import Config

from vptx.analysis.paper import PAPER
from vptx.analysis.protocol import Outcome, group_means
from vptx.analysis.results import COLOURS, spread, table
from vptx.analysis.tokens import attention_shares, batches_of, draw_shares, draw_tsne, features
from vptx.apis import init_model
from vptx.datasets import TASKS
from vptx.files import write_whole

__all__ = ['Found', 'curves', 'read', 'significance', 'write']

DASH = '-'
MEANS = ('mean of groups', 'mean of tasks')


@dataclass
class Found:
    """What lies in the folders of some studies.

    Attributes:
        outcomes: one for each method and task.
        trials: one row of ``trials.csv`` for each run, as text.
    """

    outcomes: list[Outcome]
    trials: list[dict[str, str]]

    def methods(self) -> list[str]:
        return list(dict.fromkeys(o.method for o in self.outcomes))

    def tasks(self) -> list[str]:
        """In the order of the papers' tables; those of no suite come last."""
        order = list(TASKS)
        there = dict.fromkeys(o.task for o in self.outcomes)
        return sorted(there, key=lambda task: order.index(task) if task in TASKS else len(order))

    def of(self, method: str) -> dict[str, Outcome]:
        return {o.task: o for o in self.outcomes if o.method == method}

    def reached(self, method: str) -> dict[str, float]:
        """Mean test accuracy of each task that has one, in per cent."""
        return {task: mean(o.test) for task, o in self.of(method).items() if o.test}

    def final(self, method: str) -> list[dict[str, str]]:
        """Its runs on the test split."""
        return [row for row in self.trials if row['config'] == method and row['split'] == 'test' and row['accuracy']]


def read(folders: Sequence[str | Path]) -> Found:
    """What studies left in some folders, together.

    Raises:
        FileNotFoundError: a folder without results.
        ValueError: two folders have the same method on the same task.
    """
    outcomes: list[Outcome] = []
    trials: list[dict[str, str]] = []
    for folder in map(Path, folders):
        if not (folder / 'results.json').is_file():
            raise FileNotFoundError(
                f'there is no {folder / "results.json"}: give the --out of tools/experiment.py or tools/sweep.py'
            )
        outcomes += [Outcome(**row) for row in json.loads((folder / 'results.json').read_text())]
        with (folder / 'trials.csv').open(newline='') as file:
            trials += csv.DictReader(file)
    seen: set[tuple[str, str]] = set()
    for o in outcomes:
        if (o.method, o.task) in seen:
            raise ValueError(f'{o.method} on {o.task} is in several of {", ".join(map(str, folders))}')
        seen.add((o.method, o.task))
    return Found(outcomes, trials)


# ------------------------------------------------------------------------------------------------------ tables


def _short(methods: Sequence[str]) -> dict[str, str]:
    """Methods without what the names of all have in front: ``vitb16_in21k_vpt_deep`` -> ``vpt_deep``."""
    parts = [method.split('_') for method in methods]
    shared = 0
    while len(methods) > 1 and all(len(p) > shared + 1 and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    return {method: '_'.join(p[shared:]) for method, p in zip(methods, parts, strict=True)}


def _baseline(found: Found) -> str | None:
    """The method that is full fine-tuning, by the name of its config: what papers count wins against."""
    return next((method for method in found.methods() if method.split('_')[-1] == 'full'), None)


def accuracies(found: Found) -> str:
    """Method by task, for each suite: mean over the seeds; below, the paper's where it has the same."""
    short, parts = _short(found.methods()), []
    for suite in dict.fromkeys(_suite(task) for task in found.tasks()):
        tasks = [task for task in found.tasks() if _suite(task) == suite]
        every = {method: group_means([found.of(method)[t] for t in tasks if t in found.of(method)]) for method in short}
        groups = list(dict.fromkeys(TASKS[task].group for task in tasks)) if suite else []
        several = len({task.group for task in TASKS.values() if task.suite == suite}) > 1
        means = [*groups, *(MEANS if several else ())]
        head = ['test %', *(task.removeprefix('mini_') for task in tasks), *(f'*{name}*' for name in means)]
        lines = []
        for method, name in short.items():
            of, reached = found.of(method), found.reached(method)
            if not of.keys() & set(tasks):
                continue
            cells = [f'{reached[t]:.1f}' + '†' * (len(of[t].missing) > 0) if t in reached else DASH for t in tasks]
            lines.append([name, *cells, *(f'{every[method][m]:.2f}' if m in every[method] else DASH for m in means)])
            if suite == 'vtab' and method in PAPER:
                theirs = PAPER[method]
                summary = group_means([Outcome(method, task, {}, 0.0, [value]) for task, value in theirs.items()])
                lines.append(
                    [f'{name}, Jia et al.', *(f'{theirs[t]:.1f}' for t in tasks), *(f'{summary[m]:.2f}' for m in means)]
                )
        parts.append(table(head, lines))
    if any(o.missing for o in found.outcomes):
        parts.append('† not all of its runs are there: see the end. A mean stands only where all of its tasks do.')
    return '\n\n'.join(parts)


def _suite(task: str) -> str:
    return TASKS[task].suite if task in TASKS else ''


def ranges(found: Found) -> str:
    """Every cell with its range over seeds, and what validation chose."""
    short = _short(found.methods())
    edge = _edges(found)
    lines = [
        [short[o.method], o.task, f'{o.val:.1f}', spread(o.test) or DASH, str(len(o.test)), _point(o, edge)]
        for o in found.outcomes
    ]
    note = '\n\n\\* the smallest or the largest of its rates: another may be better.' if edge else ''
    return table(['method', 'task', 'val %', 'test %, mean (range)', 'seeds', 'chosen on val'], lines) + note


def _point(o: Outcome, edge: set[tuple[str, str]]) -> str:
    if o.point is None:
        return DASH
    words = [f'{key.rpartition(".")[2]} {value:g}' if isinstance(value, float) else f'{key.rpartition(".")[2]} {value}'
             for key, value in o.point.items()]  # fmt: skip
    return ', '.join(words) + '\\*' * ((o.method, o.task) in edge)


def _edges(found: Found) -> set[tuple[str, str]]:
    """Method and task whose chosen rate is the smallest or the largest that was tried."""
    tried: dict[tuple[str, str], set[float]] = {}
    for row in found.trials:
        if row['split'] == 'val' and row.get('base_lr'):
            tried.setdefault((row['config'], row['task']), set()).add(float(row['base_lr']))
    return {
        (o.method, o.task)
        for o in found.outcomes
        if o.point and 'base_lr' in o.point
        and len(rates := tried.get((o.method, o.task), set())) > 1
        and float(o.point['base_lr']) in (min(rates), max(rates))
    }  # fmt: skip


def costs(found: Found) -> str:
    """Wins against full fine-tuning, what is trained, stored and spent."""
    short, full = _short(found.methods()), _baseline(found)
    against = found.reached(full) if full else {}
    lines = []
    for method, name in short.items():
        reached, rows = found.reached(method), found.final(method)
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
    first is better; tasks are the pairs, means over the seeds are what is compared."""
    from scipy.stats import ttest_rel, wilcoxon

    tests = []
    methods = found.methods()
    for i, one in enumerate(methods):
        for other in methods[i + 1 :]:
            a, b = found.reached(one), found.reached(other)
            tasks = [task for task in found.tasks() if task in a and task in b]
            if len(tasks) < 2:
                continue
            gain = mean(a[t] - b[t] for t in tasks)
            if not any(a[t] - b[t] for t in tasks):
                continue
            better, worse, (x, y) = (one, other, (a, b)) if gain >= 0 else (other, one, (b, a))
            xs, ys = [x[t] for t in tasks], [y[t] for t in tasks]
            t = ttest_rel(xs, ys, alternative='greater').pvalue
            w = wilcoxon(xs, ys, alternative='greater').pvalue
            tests.append((better, worse, len(tasks), abs(gain), float(t), float(w)))
    return tests


def _significance(found: Found) -> str:
    short, tests = _short(found.methods()), significance(found)
    if not tests:
        return 'No two methods have two tasks in common.'
    lines = [
        [f'{short[better]} > {short[worse]}', str(tasks), f'{gain:+.2f}', f'{t:.2g}', f'{w:.2g}']
        for better, worse, tasks, gain, t, w in tests
    ]
    few = min(tasks for _, _, tasks, *_ in tests)
    note = (
        f'\n\nWith {few} tasks the Wilcoxon test cannot fall below {0.5**few:.2g}. ' if few < 6 else '\n\n'
    ) + 'The direction was chosen by looking, and nothing is corrected for the number of tests.'
    return table(['pair', 'tasks', 'mean gain', 'p, t-test', 'p, Wilcoxon'], lines) + note


# ------------------------------------------------------------------------------------------------------ curves

# Columns of trials.csv that say what came out, or which study it was; the rest are axes of a grid.
_FACTS = {
    *('config', 'task', 'split', 'accuracy', 'trained', 'error', 'stopped', 'seed', 'seconds', 'megabytes'),
    'kilobytes',
}


def curves(found: Found) -> dict[str, dict[str, list[tuple[str, float]]]]:
    """axis -> 'method, task' -> (value, validation accuracy in per cent): each value at the best of the other axes.

    Axes with one value are none. Numbers are in ascending order, whatever else in that of the runs.
    """
    found_at: dict[str, dict[str, dict[str, float]]] = {}
    short = _short(found.methods())
    for row in found.trials:
        if row['split'] != 'val' or not row['accuracy']:
            continue
        for axis, value in row.items():
            if axis not in _FACTS and value:
                line = found_at.setdefault(axis, {}).setdefault(f'{short[row["config"]]}, {row["task"]}', {})
                line[value] = max(line.get(value, 0.0), float(row['accuracy']))
    result: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for axis, lines in found_at.items():
        for name, line in lines.items():
            if len(line) > 1:
                numbers = all(_is_number(value) for value in line)
                points = sorted(line.items(), key=lambda p: float(p[0])) if numbers else list(line.items())
                result.setdefault(axis, {})[name] = points
    return result


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _draw_curve(lines: dict[str, list[tuple[str, float]]], axis: str) -> bytes:
    """One panel: a thin line for each method and task, coloured by method; a bold one for the mean over its tasks."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.6), layout='constrained')
    panel = figure.subplots()
    methods = list(dict.fromkeys(name.partition(', ')[0] for name in lines))
    values = list(dict.fromkeys(value for line in lines.values() for value, _ in line))
    if all(map(_is_number, values)):
        values.sort(key=float)
    for i, method in enumerate(methods):
        colour = COLOURS[i % len(COLOURS)]
        mine = [dict(line) for name, line in lines.items() if name.partition(', ')[0] == method]
        for line in mine:
            panel.plot([values.index(v) for v in line], list(line.values()), color=colour, alpha=0.3, linewidth=1)
        shared = [v for v in values if all(v in line for line in mine)]
        label = f'{method}, mean of {len(mine)}' if len(mine) > 1 else method
        panel.plot(
            [values.index(v) for v in shared],
            [mean(line[v] for line in mine) for v in shared],
            'o-',
            color=colour,
            linewidth=2.2,
            label=label,
        )
    panel.set_xticks(range(len(values)), [f'{float(v):g}' if _is_number(v) else v for v in values])
    panel.set_xlabel(axis.rpartition('.')[2].replace('_', ' '))
    panel.set_ylabel('validation accuracy, %')
    _clean(panel)
    panel.legend(frameon=False, fontsize=8)
    return _png(figure)


def _draw_accuracies(found: Found) -> bytes:
    """A row for each task, a dot for each method: the mean over seeds, with a bar from the lowest to the highest."""
    from matplotlib.figure import Figure

    tasks, short = found.tasks(), _short(found.methods())
    step = 0.7 / len(short)
    figure = Figure(figsize=(7.2, 1.2 + len(tasks) * max(0.4, 0.13 * len(short))), layout='constrained')
    panel = figure.subplots()
    for i, (method, name) in enumerate(short.items()):
        colour, named = COLOURS[i % len(COLOURS)], False
        for row, task in enumerate(tasks):
            o = found.of(method).get(task)
            if o is None or not o.test:
                continue
            y = row + step * (i - (len(short) - 1) / 2)
            panel.plot([min(o.test), max(o.test)], [y, y], color=colour, alpha=0.35, linewidth=4)
            panel.plot(mean(o.test), y, 'o', color=colour, markersize=5, label=None if named else name)
            named = True
    for row in range(1, len(tasks), 2):
        panel.axhspan(row - 0.5, row + 0.5, color='0.96', zorder=0)
    panel.set_yticks(range(len(tasks)), tasks)
    panel.set_ylim(len(tasks) - 0.5, -0.5)
    panel.set_xlabel('test accuracy, %')
    _clean(panel)
    figure.legend(loc='outside upper center', ncols=min(5, len(short)), frameon=False)
    return _png(figure)


def _clean(panel: Any) -> None:
    panel.grid(color='0.9', linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(length=0)
    for side in ('top', 'right', 'left'):
        panel.spines[side].set_visible(False)


def _png(figure: Any) -> bytes:
    drawn = BytesIO()
    figure.savefig(drawn, dpi=144, format='png')
    return drawn.getvalue()


# -------------------------------------------------------------------------------------------------------- page


def _missing(found: Found) -> str:
    lines = [f'- {o.method}, {o.task}: {", ".join(o.missing)}' for o in found.outcomes if o.missing]
    cells = [(method, task) for method in found.methods() for task in found.tasks() if task not in found.of(method)]
    lines += [f'- {method}, {task}: never asked for' for method, task in cells if _suite(task)]
    broke = sum(o.diverged for o in found.outcomes)
    stopped = sum(o.stopped for o in found.outcomes)
    if broke:
        lines.append(f'- {broke} points of grids broke off, as too high a rate does; they were tried and not chosen')
    if stopped:
        lines.append(f'- {stopped} points of grids were stopped early, because others of their study did better')
    return '\n'.join(lines) or 'Nothing.'


def _looks(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str, list[tuple[str, bytes]]]]:
    """A section for each config and prompt file: its class tokens, and what they attend to."""
    sections = []
    for number, (config_file, prompt_file) in enumerate(pairs):
        config = Config.fromfile(config_file)
        model = init_model(config, prompt_file)
        batches = batches_of(config, 5)
        values, labels = features(model, batches)
        meta: Any = model.dataset_meta
        names = meta.get('classes') or [str(label) for label in range(int(labels.max()) + 1)]
        figures = [
            (f'tsne_{number}', _png(draw_tsne(values, labels, names))),
            (f'attention_{number}', _png(draw_shares(attention_shares(model, batches)))),
        ]
        text = (
            f'{prompt_file}: what the head sees of {len(labels)} images of the test split, by t-SNE, coloured by '
            'class; and what the class token attends to in each layer, on average over heads and images.'
        )
        sections.append((f'Tokens of {Path(config_file).stem}', text, figures))
    return sections


def write(found: Found, out: str | Path, title: str = 'Report', looks: Sequence[tuple[str, str]] = ()) -> None:
    """Write ``report.html``, with its figures inside, and ``report.md``, with its figures beside it, into ``out``.

    Args:
        found: of :func:`read`.
        out: folder.
        title: of the page.
        looks: pairs of a config and a prompt file, whose class tokens are drawn.
    """
    out = Path(out)
    sections = [
        ('Test accuracy', accuracies(found), [('accuracies', _draw_accuracies(found))]),
        ('Cost', costs(found), []),
        ('Significance', _significance(found), []),
        ('Every cell', ranges(found), []),
    ]
    lines = curves(found)
    if lines:
        drawn = [(f'curve_{axis.rpartition(".")[2]}', _draw_curve(found_on, axis)) for axis, found_on in lines.items()]
        text = 'Validation accuracy with one seed, each value at the best of the other axes. Not test accuracy.'
        sections.append(('Along the grid', text, drawn))
    sections += [*_looks(looks), ('What is not there', _missing(found), [])]
    markdown, page = [f'# {title}'], [f'<h1>{html.escape(title)}</h1>']
    for name, text, figures in sections:
        markdown += [f'## {name}', text, *(f'![{figure}]({figure}.png)' for figure, _ in figures)]
        page += [f'<h2>{html.escape(name)}</h2>', _html(text)]
        for figure, picture in figures:
            write_whole(out / f'{figure}.png', picture)
            page.append(f'<img alt="{html.escape(figure)}" src="data:image/png;base64,{b64encode(picture).decode()}">')
    write_whole(out / 'report.md', ('\n\n'.join(markdown) + '\n').encode())
    write_whole(out / 'report.html', (_HEAD.format(title=html.escape(title)) + '\n'.join(page) + '\n').encode())


_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums }}
th, td {{ padding: .25em .7em; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap }}
th {{ border-bottom: 2px solid #222 }}
th:first-child, td:first-child {{ text-align: left }}
img {{ max-width: 100% }}
</style>
"""


def _html(text: str) -> str:
    """The little Markdown that is written above: tables, lists, paragraphs, emphasis."""
    parts = []
    for block in text.split('\n\n'):
        lines = block.splitlines()
        if block.startswith('|'):
            rows = [[_inline(cell.strip()) for cell in line.strip('|').split('|')] for line in lines]
            head = ''.join(f'<th>{cell}</th>' for cell in rows[0])
            body = ''.join(f'<tr>{"".join(f"<td>{cell}</td>" for cell in row)}</tr>' for row in rows[2:])
            parts.append(f'<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')
        elif block.startswith('- '):
            parts.append(f'<ul>{"".join(f"<li>{_inline(line[2:])}</li>" for line in lines)}</ul>')
        else:
            parts.append(f'<p>{_inline(block)}</p>')
    return '\n'.join(parts)


def _inline(text: str) -> str:
    text = html.escape(text)
    if text.startswith('*') and text.endswith('*') and len(text) > 2:
        return f'<em>{text[1:-1]}</em>'
    return text.replace('\\*', '*')
