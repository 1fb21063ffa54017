"""Figures of a report."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import ceil
from statistics import mean
from typing import Any

from matplotlib.figure import Figure  # without pyplot: no window, no global state

from vptx.analysis.tokens import COLOURS
from vptx.studies.results import Outcome, methods_by_net

__all__ = ['draw_accuracies', 'draw_comparison', 'draw_curve', 'is_number', 'png']

MARKERS = 'os^Dv'  # when colours have come to an end
ACROSS = 4  # panels

#: x and y of each point, in order; x is a number or a name, as text.
Line = Sequence[tuple[str, float]]


def _style(i: int) -> dict[str, Any]:
    return dict(color=COLOURS[i % len(COLOURS)], marker=MARKERS[i // len(COLOURS) % len(MARKERS)])


def draw_accuracies(found: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Method -> task -> test accuracy of each seed, in per cent: a row for each task, a dot for each method at the mean
    over its seeds, with a bar from the lowest to the highest."""
    tasks = list(dict.fromkeys(task for reached in found.values() for task in reached))
    step = 0.8 / len(found)
    figure = Figure(figsize=(9.6, 1.2 + len(tasks) * max(0.3, 0.085 * len(found))), layout='constrained')
    panel = figure.subplots()
    for i, (method, reached) in enumerate(found.items()):
        rows = [tasks.index(task) + step * (i - (len(found) - 1) / 2) for task in reached]
        style = _style(i)
        panel.hlines(
            rows, [*map(min, reached.values())], [*map(max, reached.values())], style['color'], alpha=0.35, linewidth=3
        )
        panel.plot([*map(mean, reached.values())], rows, **style, linestyle='', markersize=4, label=method)
    for row in range(1, len(tasks), 2):
        panel.axhspan(row - 0.5, row + 0.5, color='0.96', zorder=0)
    panel.set_yticks(range(len(tasks)), [task.removeprefix('mini_') for task in tasks])
    panel.set_ylim(len(tasks) - 0.5, -0.5)
    panel.set_xlabel('test accuracy, %')
    _clean(panel, 'x')
    figure.legend(loc='outside upper center', ncols=min(5, len(found)), frameon=False)
    return figure


def draw_comparison(outcomes: Sequence[Outcome]) -> Figure:
    """A panel for each task, a line for each method, a colour for each net: a dot at the mean over the seeds, with a
    bar from the lowest to the highest."""
    nets, tasks = list(dict.fromkeys(o.net for o in outcomes)), methods_by_net(outcomes)
    tallest, step = max(map(len, tasks.values())), 0.62 / len(nets)
    columns = min(ACROSS, len(tasks))
    rows = ceil(len(tasks) / columns)
    height = 0.7 + tallest * max(0.45, 0.2 * len(nets))
    figure = Figure(figsize=(1.2 + 4.2 * columns, 0.4 + height * rows), layout='constrained')
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for place, (panel, (task, methods)) in enumerate(zip(panels, tasks.items(), strict=False)):
        for line, by_net in enumerate(methods.values()):
            if line % 2:
                panel.axhspan(line - 0.5, line + 0.5, color='0.96', zorder=0)
            for net, o in by_net.items():
                if not o.test:
                    continue
                i = nets.index(net)
                y, style = line + step * (i - (len(nets) - 1) / 2), _style(i)
                panel.hlines(y, min(o.test), max(o.test), style['color'], alpha=0.35, linewidth=5)
                panel.plot(mean(o.test), y, **style, markersize=6, markeredgecolor='white')
        labelled = place % columns > 0 and [*methods] == [*list(tasks.values())[place - 1]]
        panel.set_yticks(range(len(methods)), [''] * len(methods) if labelled else [*methods])
        panel.set_ylim(len(methods) - 0.5, -0.5)
        panel.set_title(task, loc='left', fontweight='bold')
        panel.set_xlabel(f'test {next(o.metric for o in outcomes if o.task == task)}, %')
        _clean(panel, 'x')
    for panel in panels[len(tasks) :]:
        panel.set_visible(False)
    if len(nets) > 1:
        dots = [panels[0].plot([], [], **_style(i), linestyle='', label=net)[0] for i, net in enumerate(nets)]
        figure.legend(handles=dots, loc='outside upper center', ncols=min(len(nets), 2 * columns), frameon=False)
    return figure


def draw_curve(found: Mapping[str, Mapping[str, Line]], axis: str, unit: str) -> Figure:
    """Method -> task -> line: a thin line for each method and task, coloured by method, a bold one for the mean over
    its tasks, where all of them have a value."""
    lines = [line for tasks in found.values() for line in tasks.values()]
    values = list(dict.fromkeys(value for line in lines for value, _ in line))
    if all(map(is_number, values)):
        values.sort(key=float)
    figure = Figure(figsize=(max(5, 1.5 + 0.65 * len(values)) + 1.6 * (len(found) > 1), 3.4), layout='constrained')
    panel = figure.subplots()
    for i, (method, tasks) in enumerate(found.items()):
        mine, style = [dict(line) for line in tasks.values()], _style(i)
        for line in mine:
            panel.plot([values.index(v) for v in line], list(line.values()), color=style['color'], alpha=0.3, lw=1)
        shared = [v for v in values if all(v in line for line in mine)]
        middle = [mean(line[v] for line in mine) for v in shared]
        panel.plot([values.index(v) for v in shared], middle, **style, linewidth=2.2, label=method)
    panel.set_xticks(range(len(values)), [f'{float(v):.4g}' if is_number(v) else v for v in values])
    panel.set_xlabel(axis.rpartition('.')[2].replace('_', ' '))
    panel.set_ylabel(unit)
    _clean(panel, 'both')
    if len(found) > 1:
        figure.legend(loc='outside right upper', frameon=False, fontsize=8)
    return figure


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _clean(panel: Any, grid: str) -> None:
    panel.grid(axis=grid, color='0.9', linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(length=0)
    for side in ('top', 'right', 'left'):
        panel.spines[side].set_visible(False)


def png(figure: Figure) -> bytes:
    drawn = BytesIO()
    figure.savefig(drawn, dpi=160, format='png')
    return drawn.getvalue()
