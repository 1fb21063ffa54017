"""What studies found, as tables in Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonpath
from statistics import mean

from vptx.datasets import TASKS
from vptx.studies.trials import Point, name_of

__all__ = ['Outcome', 'families', 'group_means', 'markdown', 'methods_by_net', 'spread', 'table', 'unit']

STAR = '\\*'  # next to a learning rate at an end of those that were tried


@dataclass
class Outcome:
    """What a config reached on a task.

    Attributes:
        leaf: name of the config.
        task: of the table, or the type of the config's data set.
        point: what validation chose; None where no point came to an end.
        val: score there, in per cent.
        test: of each seed, in per cent.
        net: in place of the config's own, by name.
        variant: of the config, if it has some.
        metric: what val and test are.
        at_edge: whether the chosen learning rate is the smallest or the largest that was tried, so that another may be
            better.
        trained: number of trained values.
        kilobytes: size of the prompt file.
        diverged: points of the grid that broke off.
        stopped: points of the grid that a scheduler stopped, because others did better.
        missing: runs without a result, by name.
        parts: where the metric is H, 'base', 'new', 'H' and 'all': accuracies of each seed, in per cent.
    """

    leaf: str
    task: str
    point: Point | None = None
    val: float = 0.0
    test: list[float] = field(default_factory=list)
    net: str = ''
    variant: str = ''
    metric: str = 'accuracy'
    at_edge: bool = False
    trained: int = 0
    kilobytes: float = 0.0
    diverged: int = 0
    stopped: int = 0
    missing: list[str] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)

    @property
    def config(self) -> str:
        """Names of net and config."""
        return '_'.join(filter(None, (self.net, self.leaf)))

    @property
    def method(self) -> str:
        """Names of net, config and variant: of one column, or line, of a table."""
        return '_'.join(filter(None, (self.net, self.leaf, self.variant)))


def group_means(reached: Mapping[str, float]) -> dict[str, float]:
    """Means of one method's test accuracies, by task, over a suite, in per cent: of each group of several tasks that is
    complete and, where all groups are, both means that papers report, of the groups and of the tasks."""
    reached = {task: value for task, value in reached.items() if task in TASKS}
    groups: dict[str, list[str]] = {}
    for name, task in TASKS.items():
        if task.suite in {TASKS[found].suite for found in reached}:
            groups.setdefault(task.group, []).append(name)
    complete = {group: names for group, names in groups.items() if reached.keys() >= set(names)}
    means = {group: mean(reached[name] for name in names) for group, names in complete.items() if len(names) > 1}
    if len(groups) > 1 and complete.keys() == groups.keys():
        if means.keys() == groups.keys():
            means['mean of groups'] = mean(means.values())
        means['mean of tasks'] = mean(reached.values())
    return means


def families(outcomes: Sequence[Outcome]) -> dict[tuple[str, ...], list[str]]:
    """Variants, in order -> the configs that have them. Such configs stand in one table."""
    variants: dict[str, dict[str, None]] = {}
    for o in outcomes:
        if o.variant:
            variants.setdefault(o.config, {})[o.variant] = None
    found: dict[tuple[str, ...], list[str]] = {}
    for config, names in variants.items():
        found.setdefault(tuple(names), []).append(config)
    return found


def methods_by_net(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, Outcome]]]:
    """Task -> method -> net -> what was found. A method is what configs of a task do not share in their names:
    ``linear`` and ``vpt_deep`` of ``digits_linear`` and ``digits_vpt_deep``."""
    found: dict[str, dict[str, dict[str, Outcome]]] = {}
    for o in outcomes:
        name = '_'.join(filter(None, (o.leaf, o.variant)))
        found.setdefault(o.task, {}).setdefault(name, {})[o.net] = o
    for task, by_name in found.items():
        shared = len(commonpath([name.replace('_', '/') for name in by_name])) if len(by_name) > 1 else 0
        found[task] = {name[shared:].lstrip('_'): by_net for name, by_net in by_name.items()}
    return found


def _net_by_net(outcomes: Sequence[Outcome]) -> list[str]:
    """For each task a row for each method, a column for each net."""
    nets, parts = list(dict.fromkeys(o.net for o in outcomes)), []
    for task, methods in methods_by_net(outcomes).items():
        per_cent = next(unit(o) for o in outcomes if o.task == task)
        lines = [
            [name, *(spread(by_net[net].test) + STAR * by_net[net].at_edge if net in by_net else '' for net in nets)]
            for name, by_net in methods.items()
        ]
        parts.append(table([f'{task}: test {per_cent}, mean (range)', *nets], lines))
    return parts


def _side_by_side(outcomes: Sequence[Outcome], variants: Sequence[str], configs: Sequence[str]) -> str:
    """A row for each config and task, a column for each variant."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for o in outcomes:
        if o.config in configs and o.variant:
            rows.setdefault((o.config, o.task), {})[o.variant] = spread(o.test)
    lines = [[*row, *(found.get(variant, '') for variant in variants)] for row, found in rows.items()]
    return table(['test %, mean (range)', 'task', *variants], lines, text=2)


def markdown(outcomes: Sequence[Outcome]) -> str:
    """Where there are several nets, method by net for each task; where configs have variants, those next to each other;
    then each outcome with its facts, and the means over tasks."""
    parts = _net_by_net(outcomes) if len({o.net for o in outcomes}) > 1 else []
    parts += [_side_by_side(outcomes, *family) for family in families(outcomes).items()]
    for metric in dict.fromkeys(o.metric for o in outcomes):
        alike = [o for o in outcomes if o.metric == metric]
        per_cent = unit(alike[0])
        parts.append(
            table(
                [
                    'config',
                    'task',
                    'chosen on val',
                    f'val {"%" if metric == "H" else per_cent}',
                    f'test {per_cent}, mean (range)',
                    'trained',
                    'prompt file',
                ],
                [
                    [
                        o.method,
                        o.task,
                        'none' if o.point is None else name_of(o.point).replace('_', ' ') + STAR * o.at_edge,
                        f'{o.val:.1f}',
                        spread(o.test),
                        f'{o.trained:,}',
                        f'{o.kilobytes:,.0f} kB',
                    ]
                    for o in alike
                ],
                text=3,
            )
        )
    if judged := [o for o in outcomes if o.parts]:
        halves = [[o.method, o.task, *(spread(found) for found in o.parts.values())] for o in judged]
        parts.append(table(['test %, mean (range)', 'task', *judged[0].parts], halves, text=2))
    if any(o.at_edge for o in outcomes):
        parts.append(f'{STAR} the smallest or the largest rate that was tried: another may be better.')
    for method in dict.fromkeys(o.method for o in outcomes):
        means = group_means({o.task: mean(o.test) for o in outcomes if o.method == method and o.test})
        if means:
            parts.append(f'{method}: ' + ', '.join(f'{name} {value:.2f}' for name, value in means.items()))
    parts += [f'Not there: {o.method} {o.task} {", ".join(o.missing)}' for o in outcomes if o.missing]
    return '\n\n'.join(parts)


def unit(outcome: Outcome) -> str:
    """Per cent of what; the task says it for accuracy."""
    return '%' if outcome.metric == 'accuracy' else f'{outcome.metric} %'


def spread(found: Sequence[float]) -> str:
    """Mean (lowest to highest); nothing of nothing."""
    return f'{mean(found):.1f} ({min(found):.1f} to {max(found):.1f})' if found else ''


def table(head: Sequence[str], lines: Sequence[Sequence[str]], text: int = 1) -> str:
    """Markdown; the first ``text`` columns are words, the others numbers."""
    rule = [*['---'] * text, *['---:'] * (len(head) - text)]
    return '\n'.join([_line(head), f'|{"|".join(rule)}|', *map(_line, lines)])


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
