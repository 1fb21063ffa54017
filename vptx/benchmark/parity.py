"""Whether prompts as keys and values are the same function on a device as on paper: in half precision, compiled in one
graph, by every kernel of attention that the device has.

The reference is the same prompts, among the tokens of each layer, in single precision. How far output
and prompt gradients are from it is compared with rounding and, in half precision, with how far the concatenated form is
itself.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from math import inf, nan
from statistics import median

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from vptx.benchmark.speed import Candidate, take_step, timed

__all__ = ['Way', 'compare_ways', 'faults', 'markdown']

#: Kernels of fused attention; a device has some of them.
FUSED = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION)
#: How far single precision may be off, and half precision in terms of that of concatenated prompts.
ROUNDING, TIMES = 1e-3, 2.0


@dataclass(eq=False)
class Way:
    """A way to compute a training step, and what it came to.

    Attributes:
        name: of the way.
        bounds: how far output and gradients may be off; none for what others are compared with.
        may_refuse: whether a device may do without it.
        output: how far the output is off, relative to its length.
        gradients: the same of the prompts' gradients.
        steps: seconds of a training step, in each round.
        refusal: why there is none; empty if there is.
    """

    name: str
    bounds: tuple[float, float] = (inf, inf)
    may_refuse: bool = False
    output: float = nan
    gradients: float = nan
    steps: list[float] = field(default_factory=list)
    refusal: str = ''

    @property
    def holds(self) -> bool:
        if self.refusal:
            return self.may_refuse
        return self.output <= self.bounds[0] and self.gradients <= self.bounds[1]


def compare_ways(
    memory: Candidate, usual: Candidate, image: Tensor, half: torch.dtype, compiler: str, rounds: int
) -> list[Way]:
    """Every way to compute ``memory``, next to two to compute ``usual``.

    Args:
        memory: with prompts that enter as memory, without dropout.
        usual: the same with prompts among the tokens; is given the values of ``memory``.
        image: (B, 3, H, W).
        half: the precision of autocast.
        compiler: backend of ``torch.compile``.
        rounds: in which all are timed in turn.
    """
    with torch.no_grad():
        for parameter, other in zip(memory.trains, usual.trains, strict=True):
            other.copy_(parameter)
    torch.compiler.reset()
    compiled = torch.compile(memory.model, backend=compiler, fullgraph=True)

    def step(
        candidate: Candidate,
        dtype: torch.dtype,
        model: Callable[[Tensor], Tensor] | None = None,
        kernel: Callable[[], AbstractContextManager] = nullcontext,
    ) -> tuple[Tensor, Tensor]:
        with candidate.turn(training=True), kernel():
            candidate.model.zero_grad()
            output = take_step(candidate.model if model is None else model, image, dtype)
        prompts = candidate.model.prompter.parameters()
        return output.float(), torch.cat([parameter.grad.flatten() for parameter in prompts])

    single, name = torch.float32, str(half).removeprefix('torch.')
    steps = {
        Way('usual form, float32'): partial(step, usual, single),
        Way(f'usual form, {name}'): partial(step, usual, half),
        Way('float32', (ROUNDING, ROUNDING)): partial(step, memory, single),
    }
    reference, usual_half = (run() for run in list(steps.values())[:2])
    off = TIMES * _apart(usual_half[0], reference[0]), TIMES * _apart(usual_half[1], reference[1])
    steps |= {
        Way(name, off): partial(step, memory, half),
        Way(f'{name}, compiled in one graph', off): partial(step, memory, half, compiled),
        Way(f'{name}, plain attention', off): partial(step, memory, half, kernel=partial(sdpa_kernel, SDPBackend.MATH)),
    }
    for kernel in FUSED:
        way = Way(f'{name}, {kernel.name.split("_")[0].lower()} attention', off, may_refuse=True)
        steps[way] = partial(step, memory, half, kernel=partial(sdpa_kernel, kernel))
    for way, run in steps.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of a kernel that says in as many lines why not
                output, gradients = run()
        except RuntimeError as error:
            way.refusal = str(error).strip().splitlines()[0]
            continue
        way.output, way.gradients = _apart(output, reference[0]), _apart(gradients, reference[1])
    for _ in range(rounds):
        for way, run in steps.items():
            if not way.refusal:
                way.steps.append(timed(run, image.device))
    return list(steps)


def _apart(memory: Tensor, expected: Tensor) -> float:
    return ((memory - expected).norm() / expected.norm()).item()


def faults(ways: Sequence[Way]) -> list[str]:
    """What does not hold, in words; a device without any fused attention among it."""
    found = [f'{way.name}: {way.refusal or "further off than is allowed"}' for way in ways if not way.holds]
    if all(way.refusal for way in ways if way.may_refuse):
        found.append('no kernel of fused attention takes it')
    return found


def markdown(ways: Sequence[Way]) -> str:
    """A table of them."""
    lines = ['|  | output off by | gradients off by | step, ms | holds |', '|---|---:|---:|---:|---|']
    for way in ways:
        verdict = 'yes' if way.holds else '**no**'
        if way.refusal:
            cells = ['', '', '', f'{"not here" if way.holds else verdict}: {way.refusal}']
        else:
            cells = [f'{way.output:.1e}', f'{way.gradients:.1e}', f'{1e3 * median(way.steps):.1f}', verdict]
        lines.append(f'| {" | ".join([way.name, *cells])} |')
    return '\n'.join(lines)
