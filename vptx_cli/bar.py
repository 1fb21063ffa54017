"""A bar while many files are made: on stderr, if that is a terminal."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ['bar']

Item = TypeVar('Item')


def bar(items: Iterable[Item], total: int, text: str, quiet: bool = False) -> Iterator[Item]:
    """Go through ``items``, with a bar of how many are done and how long the rest takes; what is printed goes above it.

    Args:
        items: to go through.
        total: their number.
        text: what is done, before the bar.
        quiet: no bar.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=quiet or total < 2 or not console.is_terminal,
        redirect_stdout=sys.stdout.isatty(),  # else what is printed goes where the user sends it
    ) as progress:
        yield from progress.track(items, total=total, description=text)
