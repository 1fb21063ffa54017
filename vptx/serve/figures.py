"""What a mixed batch costs: ratios of times that were taken in turns, in one process.

Each round times everyone once, in turn, so that what else the machine does strikes all alike; a ratio is that of two
times of one round. Prompts and heads are drawn, as their numbers make no difference to time.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

import vptx
from vptx.backbones import wrap_backbone
from vptx.benchmark.speed import timed
from vptx.serve.bank import Bank

__all__ = ['Figures', 'markdown', 'measure']


@dataclass
class Figures:
    """Of a network.

    Attributes:
        times: of each candidate, in each round.
        bytes: of a task in a bank: keys and values of its prompts, and its head.
        file: bytes of a prompt file.
    """

    times: dict[str, list[float]]
    bytes: int
    file: int

    def ratio(self, name: str, to: str) -> tuple[float, float, float]:
        """Median, smallest and largest of the ratios of the rounds."""
        found = [mine / other for mine, other in zip(self.times[name], self.times[to], strict=True)]
        return median(found), min(found), max(found)


@torch.inference_mode()
def measure(
    network: nn.Module,
    prompts: int = 50,
    tasks: Sequence[int] = (1, 8, 32),
    batch: int = 32,
    rounds: int = 5,
    clock: str = 'cpu',
    say: Callable[[str], Any] = lambda line: None,
) -> Figures:
    """Time inference of a batch: the frozen network, one task alone with folded prompts, and the bank with many.

    Args:
        network: a library's own, with a classifier.
        prompts: P, of deep prompts in every layer.
        tasks: how many in a batch.
        batch: samples.
        rounds: after one that is not counted.
        clock: ``'cpu'``, time that the process was given, or ``'wall'``.
        say: takes a line for each round.
    """
    weights = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}

    def another() -> nn.Module:
        return deepcopy(network, dict(weights)).eval()

    with TemporaryDirectory() as folder, torch.inference_mode(False):
        bank, alone = Bank(network, folder, slots=max(tasks)), None
        for index in range(max(tasks)):
            model = vptx.attach(another(), dict(type='DeepPrompter', num_tokens=prompts), tune=[_head(network)])
            path = Path(folder, f'.{index}.safetensors')
            vptx.save_prompt(model, path)
            bank.add(f'task{index:03}', path)
            size = path.stat().st_size
            path.unlink()
            alone = alone or vptx.fold(model)
        frozen, ready = another(), bank.task('task000').bytes
        image = torch.randn(batch, 3, *bank.frozen.net.geometry.image)
        candidates: dict[str, Callable[[], Any]] = {'frozen network': partial(frozen, image)}
        candidates['one task alone'] = partial(_call, alone, image)
        for number in tasks:
            asked = [f'task{index % number:03}' for index in range(batch)]
            name = f'bank, {number} {"task" if number == 1 else "tasks"}'
            candidates[name] = partial(bank.predict, image, asked)
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for number in range(rounds + 1):
            for name, run in candidates.items():
                with torch.inference_mode():
                    taken = timed(run, image.device, clock)
                if number:
                    times[name].append(taken)
            say(f'round {number} of {rounds}')
    return Figures(times, ready, size)


def _call(model: Any, image: Tensor) -> Tensor:
    return model(image)


def _head(network: nn.Module) -> str:
    classifier = wrap_backbone(network).classifier
    return next(name for name, module in network.named_modules() if module is classifier)


def markdown(found: Figures) -> str:
    """A table: medians of ratios, with the smallest and the largest."""
    lines = ['| | / one task alone | / frozen network |', '|---|---:|---:|']
    for name in found.times:
        cells = [
            '{:.3f} ({:.3f} to {:.3f})'.format(*found.ratio(name, to)) for to in ('one task alone', 'frozen network')
        ]
        lines.append(f'| {name} | {cells[0]} | {cells[1]} |')
    per = 2**30 // found.bytes
    lines.append(
        f'\n{found.bytes / 2**20:.2f} MB for each task that is ready, {per} in a GB; its file has '
        f'{found.file / 2**20:.2f} MB'
    )
    return '\n'.join(lines)
