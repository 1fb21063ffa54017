"""How fast an exported file is, next to the model that it was made from.

``eager`` is the model as it is trained, ``folded`` has keys and values of its prompts computed once where that can be,
``compiled`` is the folded one by ``torch.compile``. They and the files take turns, round after round, in one process.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from vptx.attach import prompted_network
from vptx.benchmark.speed import timed
from vptx.export.deployed import Deployed
from vptx.export.files import FORMATS

__all__ = ['latencies', 'latency_table']


def latencies(
    model: nn.Module,
    files: Sequence[Path],
    batch: int = 1,
    rounds: int = 10,
    clock: str = 'wall',
    uint8: bool = False,
    size: Sequence[int] | None = None,
    compiler: str | None = 'inductor',
) -> dict[str, list[float]]:
    """Seconds of each forward pass, by name, in each round.

    Args:
        model: what ``vptx.attach`` or ``vptx.init_model`` returned.
        files: what ``vptx.export_model`` wrote of it, with the same ``uint8`` and ``size``.
        batch: images.
        rounds: in each of which everyone has a turn, after one that is not counted.
        clock: ``'wall'``, or ``'cpu'``, the time that the process was given: for a machine that others use too.
        uint8: what pixels of the files are.
        size: H, W; by default that of the network.
        compiler: backend of ``torch.compile``; None leaves it out.
    """
    size = prompted_network(model).net.geometry.image if size is None else size
    eager, folded = (Deployed(deepcopy(model).eval(), size, uint8) for _ in range(2))
    prompted_network(eager.model).unfold()
    with suppress(ValueError):  # prompts that cannot be folded
        prompted_network(folded.model).fold()
    runs: dict[str, Callable[..., Any]] = dict(eager=eager)
    if prompted_network(folded.model).folded:
        runs['folded'] = folded
    if compiler is not None:
        runs['compiled'] = torch.compile(folded, backend=compiler)
    runs |= {path.name: FORMATS[path.suffix][1](path) for path in files}
    image, found = eager.example(batch), {name: list[float]() for name in runs}
    with torch.no_grad():
        for number in range(rounds + 1):
            for name, run in runs.items():
                seconds = timed(partial(run, image=image), image.device, clock)
                if number:  # the first one compiles, and allocates
                    found[name].append(seconds)
    return found


def latency_table(found: Mapping[str, Sequence[float]]) -> str:
    """Markdown: medians, and medians of the ratios to ``eager`` in the same round, with their range."""
    lines = ['| | ms | / eager | range |', '|---|---:|---:|---|']
    for name, seconds in found.items():
        ratios = [own / eager for own, eager in zip(seconds, found['eager'], strict=True)]
        spread = f'{min(ratios):.2f} to {max(ratios):.2f}'
        lines.append(f'| {name} | {1e3 * median(seconds):.1f} | {median(ratios):.2f} | {spread} |')
    return '\n'.join(lines)
