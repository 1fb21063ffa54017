"""What a comparison found: one row for each config and net, as Markdown and as a picture."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from os.path import commonpath
from pathlib import Path
from statistics import mean

from vptx.files import write_whole

__all__ = ['Row', 'markdown', 'plot', 'spread', 'table']


def spread(found: Sequence[float]) -> str:
    """Mean (lowest to highest); nothing of nothing."""
    return f'{mean(found):.1f} ({min(found):.1f} to {max(found):.1f})' if found else ''


@dataclass
class Row:
    """What a config reached with a net.

    Attributes:
        name: of the config.
        net: in place of the config's own, by name; None: the config's own.
        task: the type of its data set.
        lr: the learning rate that was best on validation; None where every run failed.
        at_edge: whether that is the smallest or the largest that was tried, so that another may be better.
        val: on validation at that rate, with the first seed, in per cent.
        test: on the test split with each seed, in per cent.
        trained: number of trained values.
        kilobytes: size of the prompt file.
        failed: what became of no result, such as ``'lr0.3_seed42/val'``.
        metric: what val and test are.
    """

    name: str
    net: str | None
    task: str
    lr: float | None = None
    at_edge: bool = False
    val: float = 0.0
    test: list[float] = field(default_factory=list)
    trained: int = 0
    kilobytes: float = 0.0
    failed: list[str] = field(default_factory=list)
    metric: str = 'accuracy'

    def figure(self) -> str:
        """Mean (lowest to highest) over the seeds, in per cent."""
        return spread(self.test) or 'failed'


def markdown(rows: Sequence[Row]) -> str:
    """The rows as Markdown: where there are several nets, method by net for each task; then each row with its facts."""
    parts = []
    if len(_nets(rows)) > 1:
        for task, methods in _methods(rows).items():
            parts.append(
                table(
                    [f'{task}: test {_unit(methods[0][1].values())}, mean (range)', *map(_shown, _nets(rows))],
                    [[method, *(r[net].figure() if net in r else '' for net in _nets(rows))] for method, r in methods],
                )
            )
    for metric in dict.fromkeys(row.metric for row in rows):
        alike = [row for row in rows if row.metric == metric]
        unit = _unit(alike)
        parts.append(
            table(
                ['config', 'net', 'lr', f'val {unit}', f'test {unit}, mean (range)', 'trained', 'prompt file'],
                [
                    [
                        row.name,
                        _shown(row.net),
                        'failed' if row.lr is None else f'{row.lr:g}' + '\\*' * row.at_edge,
                        f'{row.val:.1f}',
                        row.figure(),
                        f'{row.trained:,}',
                        f'{row.kilobytes:,.0f} kB',
                    ]
                    for row in alike
                ],
            )
        )
    if any(row.at_edge for row in rows):
        parts.append('\\* the smallest or the largest rate that was tried: another may be better.')
    parts += [f'Failed: {row.name} {_shown(row.net)} {", ".join(row.failed)}' for row in rows if row.failed]
    return '\n\n'.join(parts)


def plot(rows: Sequence[Row], path: str | Path) -> None:
    """Draw the rows into a PNG: a panel for each task, a line for each method, a colour for each net.

    A dot is the mean over the seeds, the bar behind it goes from the lowest to the highest.
    """
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    nets, tasks = _nets(rows), _methods(rows)
    tallest = max(len(methods) for methods in tasks.values())
    step = 0.62 / len(nets)
    figure = Figure(figsize=(1.2 + 4.2 * len(tasks), 1.1 + tallest * max(0.45, 0.2 * len(nets))), layout='constrained')
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for panel, (task, methods) in zip(panels, tasks.items(), strict=True):
        for line, (_, by_net) in enumerate(methods):
            if line % 2:
                panel.axhspan(line - 0.5, line + 0.5, color='0.96', zorder=0)
            for place, net in enumerate(nets):
                if net not in by_net or not by_net[net].test:
                    continue
                found, y = by_net[net].test, line + step * (place - (len(nets) - 1) / 2)
                colour = COLOURS[place % len(COLOURS)]
                panel.plot([min(found), max(found)], [y, y], color=colour, alpha=0.35, linewidth=5)
                panel.plot(mean(found), y, 'o', color=colour, markersize=6, markeredgecolor='white')
        names = [method for method, _ in methods]
        told = panel is not panels[0] and names == [method for method, _ in next(iter(tasks.values()))]
        panel.set_yticks(range(len(methods)), [''] * len(methods) if told else names)
        panel.set_ylim(len(methods) - 0.5, -0.5)
        panel.set_title(task, loc='left', fontweight='bold')
        panel.set_xlabel(f'test {methods[0][1].copy().popitem()[1].metric}, %')
        panel.grid(axis='x', color='0.88', linewidth=0.8)
        panel.set_axisbelow(True)
        panel.tick_params(length=0)
        for side in ('top', 'right', 'left'):
            panel.spines[side].set_visible(False)
    if len(nets) > 1:
        dots = [
            panels[0].plot([], [], 'o', color=COLOURS[i % len(COLOURS)], label=_shown(net))[0]
            for i, net in enumerate(nets)
        ]
        figure.legend(handles=dots, loc='outside upper center', ncols=len(nets), frameon=False)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=160, format='png')
    write_whole(path, drawn.getvalue())


# Okabe and Ito's, which the colour-blind tell apart.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#999999', '#CC79A7', '#E69F00', '#56B4E9')


def _unit(rows: Iterable[Row]) -> str:
    """Per cent of what; the task says it for accuracy."""
    metric = next(iter(rows)).metric
    return '%' if metric == 'accuracy' else f'{metric} %'


def _nets(rows: Sequence[Row]) -> list[str | None]:
    return list(dict.fromkeys(row.net for row in rows))


def _shown(net: str | None) -> str:
    return net or 'its own'


def _methods(rows: Sequence[Row]) -> dict[str, list[tuple[str, dict[str | None, Row]]]]:
    """Task -> its methods, in order, each with its rows by net. A method is what configs of a task do not share in
    their names: ``linear`` and ``vpt_deep`` of ``digits_linear`` and ``digits_vpt_deep``."""
    tasks: dict[str, dict[str, dict[str | None, Row]]] = {}
    for row in rows:
        tasks.setdefault(row.task, {}).setdefault(row.name, {})[row.net] = row
    found = {}
    for task, by_name in tasks.items():
        shared = len(commonpath([name.replace('_', '/') for name in by_name])) if len(by_name) > 1 else 0
        found[task] = [(name[shared:].lstrip('_'), by_net) for name, by_net in by_name.items()]
    return found


def table(head: Sequence[str], lines: Sequence[Sequence[str]], text: int = 1) -> str:
    """Markdown; the first ``text`` columns are words, the others numbers."""
    rule = [*['---'] * text, *['---:'] * (len(head) - text)]
    return '\n'.join([_line(head), f'|{"|".join(rule)}|', *map(_line, lines)])


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'
