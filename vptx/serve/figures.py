"""What a mixed batch costs: ratios of times that were taken in turns, in one process.

Each round times everyone once, in turn, so that what else the machine does strikes all alike; a ratio is that of two
times of one round. Prompts and heads are drawn, as their numbers make no difference to time.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
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
    lora: int = 0,
) -> Figures:
    """Time inference of a batch: the frozen network, one task alone with folded prompts, and the bank with many.

    Args:
        network: a library's own, with a classifier.
        prompts: P, of deep prompts in every layer.
        tasks: how many in a batch.
        batch: samples.
        rounds: after one of a single image, which is not counted.
        clock: ``'cpu'``, time that the process was given, or ``'wall'``.
        say: takes a line for each round.
        lora: the rank of PEFT's LoRA on queries, keys and values of the same network, with an adapter for each task;
            0 leaves PEFT out.

    Raises:
        ImportError: PEFT is asked for and not installed.
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
        # Of images and the tasks of each.
        candidates: dict[str, Callable[[Tensor, list[str]], Any]] = {
            'frozen network': lambda images, names: frozen(images),
            'one task alone': lambda images, names: _call(alone, images),
        }
        asked = dict.fromkeys(candidates, ['task000'] * batch)
        adapted = _with_lora(another(), max(tasks), lora) if lora else None
        for number in tasks:
            name, several = f'bank, {number} task', 's' * (number > 1)
            candidates[name + several] = bank.predict
            asked[name + several] = [f'task{index % number:03}' for index in range(batch)]
            if adapted is not None:
                other = f'LoRA of PEFT, {number} adapter{several}'
                candidates[other] = lambda images, names: adapted(images, adapter_names=names)
                asked[other] = asked[name + several]
        times: dict[str, list[float]] = {name: [] for name in candidates}
        for number in range(rounds + 1):
            for name, run in candidates.items():
                many = batch if number else 1
                with torch.inference_mode():
                    taken = timed(partial(run, image[:many], asked[name][:many]), image.device, clock)
                if number:
                    times[name].append(taken)
                    say(f'round {number} of {rounds}: {name} {taken:.2f} s')
    return Figures(times, ready, size)


def _call(model: Any, image: Tensor) -> Tensor:
    return model(image)


def _with_lora(network: nn.Module, adapters: int, rank: int) -> nn.Module:
    """The network with adapters of PEFT, task000, task001, ..., none of which is merged."""
    if find_spec('peft') is None:
        raise ImportError(
            "PEFT is compared with and is no dependency of vptx: pip install peft, or leave LoRA's rank 0"
        )
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, target_modules=['qkv'])
    model: Any = get_peft_model(network, config, adapter_name='task000')
    for index in range(1, adapters):
        model.add_adapter(f'task{index:03}', config)
    return model.eval()


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
