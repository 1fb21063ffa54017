"""Figures of a report."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from statistics import mean
from typing import Any

from matplotlib.figure import Figure  # without pyplot: no window, no global state

from vptx.analysis.results import COLOURS

__all__ = ['draw_accuracies', 'draw_curve', 'is_number', 'png']

MARKERS = 'os^Dv'  # when colours have come to an end

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
