"""How long a study takes on so many GPUs, and what limits it: arithmetic with a few figures that are measured once.

A training step waits for the network, whose gradients are exchanged after it, or for the images, whichever takes
longer. Runs of a grid do not wait for one another: each GPU takes the next one when it is free.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vptx.datasets.benchmarks import BENCHMARKS

__all__ = ['VTAB', 'Grid', 'Machine', 'Sizes', 'asha_share', 'hours', 'markdown', 'run_seconds', 'step_seconds']


@dataclass(frozen=True)
class Machine:
    """What is measured on one GPU, or on the processors that take its place.

    Attributes:
        train: images that a training step handles in a second.
        infer: images a second without backward.
        read: images a second that the loader of one process decodes and resizes.
        start: seconds from the start of a process to its first step, and from its last one to its end.
        exchange: bytes a second between two processes.
        latency: seconds of an exchange of nothing.
    """

    train: float
    infer: float
    read: float = float('inf')
    start: float = 0.0
    exchange: float = float('inf')
    latency: float = 0.0


@dataclass(frozen=True)
class Sizes:
    """How many images the splits of a data set have.

    Attributes:
        train, val, test: images of each split.
    """

    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Grid:
    """The runs of a protocol on each task.

    Attributes:
        points: runs of the selection, on training images.
        seeds: final runs, on training and validation images.
        epochs: of each.
        looks: validations of a run of the selection.
        share: of the epochs of the selection that are trained; less than 1 with ``asha_share``.
        cached: whether all runs of a task read the frozen network's features of one pass.
    """

    points: int
    seeds: int
    epochs: int
    looks: int
    share: float = 1.0
    cached: bool = False


VTAB = tuple(Sizes(*task.sizes) for task in BENCHMARKS.values() if task.suite == 'vtab')


def asha_share(epochs: int, grace: int, factor: int = 4) -> float:
    """Share of the epochs that asynchronous successive halving trains at least: one of ``factor`` runs passes a rung.

    Args:
        epochs: of a run that is not stopped.
        grace: epochs before the first rung; each further one is at ``factor`` times as many.
        factor: Ray's default, which ``tools/sweep.py --asha`` uses.
    """
    trained, left, done = 0.0, 1.0, 0
    while done < epochs:
        rung = min(grace if done == 0 else done * factor, epochs)
        trained, left, done = trained + left * (rung - done), left / factor, rung
    return trained / epochs


def step_seconds(machine: Machine, batch: int, processes: int = 1, trained: int = 0) -> float:
    """Seconds of a training step of several processes, with ``batch`` images each.

    Args:
        machine: each process has one.
        batch: images of a process.
        processes: that exchange gradients, around a ring.
        trained: values that train, four bytes each.
    """
    sent = 2 * (processes - 1) / processes * 4 * trained
    exchange = machine.latency + sent / machine.exchange if processes > 1 else 0.0
    return max(batch / machine.train + exchange, batch / machine.read)


def run_seconds(machine: Machine, sizes: Sizes, grid: Grid, final: bool = False) -> float:
    """Seconds of one run on one GPU; with cached features those of a process that finds them."""
    if grid.cached:
        return machine.start
    images = sizes.train + sizes.val * final
    trained = grid.epochs * (1.0 if final else grid.share) * images
    judged = sizes.test if final else sizes.val * grid.looks * grid.share
    return machine.start + trained / min(machine.train, machine.read) + judged / min(machine.infer, machine.read)


def hours(machine: Machine, tasks: Sequence[Sizes], grid: Grid, gpus: int) -> float:
    """Hours until the last run of a study of all tasks has ended."""
    selection, finals = [
        [run_seconds(machine, sizes, grid, final) for sizes in tasks for _ in range(number)]
        for number, final in ((grid.points, False), (grid.seeds, True))
    ]
    if grid.cached:
        speed = min(machine.infer, machine.read)
        selection += [(sizes.train + sizes.val + sizes.test) / speed for sizes in tasks]
    return (_makespan(selection, gpus) + _makespan(finals, gpus)) / 3600


def _makespan(runs: Iterable[float], gpus: int) -> float:
    """Seconds until all runs have ended, the longest first."""
    free = [0.0] * gpus
    for seconds in sorted(runs, reverse=True):
        heapq.heapreplace(free, free[0] + seconds)
    return max(free)


def markdown(machine: Machine, tasks: Sequence[Sizes], grid: Grid, gpus: Sequence[int]) -> str:
    """A table of hours on so many GPUs: the grid and ASHA, and a linear probe with and without cached features."""
    probe = replace(machine, train=machine.infer)
    share = asha_share(grid.epochs, max(1, grid.epochs // 10))
    rows = {
        'prompts, all runs to their end': (machine, grid),
        f'prompts, ASHA ({share:.0%} of the epochs)': (machine, replace(grid, share=share)),
        'linear probe': (probe, grid),
        'linear probe, cached features': (probe, replace(grid, cached=True)),
    }
    names = [f'{number} GPU{"s" * (number > 1)}' for number in gpus]
    lines = [f'| hours | {" | ".join(names)} |', f'|---|{"---:|" * len(gpus)}']
    for name, (own, runs) in rows.items():
        lines.append(f'| {name} | {" | ".join(f"{hours(own, tasks, runs, number):,.1f}" for number in gpus)} |')
    return '\n'.join(lines)
