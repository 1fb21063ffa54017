"""How fast a method is relative to the frozen network that it adapts, so that anyone can measure it again.

All candidates of a network share its weights and take turns, round after round, in one process: what else the machine
does strikes them alike, and a ratio is that of two times of the same round. The baselines are

* ``frozen``: the library's own frozen network, forward and backward down to its embedded image, which is the least that
  anything learnt before the first layer can cost; of inference, its forward;
* ``full``: the library's own network, all of it trained;
* ``..., concatenated``: the same method as it is usually written: prompts go through each layer as tokens, and every
  row of the last one is computed.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import get_shape
from mmengine.config import Config
from torch import Tensor, nn

import vptx
from vptx.backbones import wrap_backbone
from vptx.backbones.base import Context
from vptx.files import write_whole
from vptx.prompted import PromptedNetwork
from vptx.prompters import Prompter
from vptx.readout import OWN
from vptx.registry import PROMPTERS

__all__ = [
    'CONCATENATED',
    'Candidate',
    'Method',
    'Result',
    'candidates',
    'count_flops',
    'find_device',
    'kept_bytes',
    'markdown',
    'measure',
    'plot',
    'read_methods',
    'take_step',
    'timed',
    'write_json',
]

FROZEN = 'frozen'
FULL = 'full'
CONCATENATED = ', concatenated'


@dataclass
class Candidate:
    """A way to train a network, sharing its weights with others.

    Attributes:
        name: of the method, or of the baseline.
        model: (B, 3, H, W) -> (B, C).
        trains: the parameters that do; the others are as ``model`` left them when another's turn comes.
        foldable: whether ``vptx.fold`` makes its inference faster.
        mergeable: whether ``vptx.merge`` does.
    """

    name: str
    model: nn.Module
    trains: list[nn.Parameter]
    foldable: bool = False
    mergeable: bool = False

    @contextmanager
    def turn(self, training: bool) -> Iterator[None]:
        """Parameters that train, modes, folding and merging as for a training step, or for inference."""
        self.model.requires_grad_(False)
        for parameter in self.trains:
            parameter.requires_grad = True
        if training:
            self.model.train()
        elif self.foldable:
            vptx.fold(self.model)
        elif self.mergeable:
            vptx.merge(self.model)
        else:
            self.model.eval()
        yield
        if self.mergeable and not training:
            vptx.unmerge(self.model)  # the weights are those of others, too


@dataclass
class Result:
    """What was measured of a candidate.

    Attributes:
        name: of the candidate.
        train: seconds of a training step, without the optimizer's, in each round.
        infer: seconds of inference, folded or merged where that can be, in each round.
        floor_train: seconds of the frozen network's step that was timed next to each of ``train``.
        floor_infer: the same of inference.
        kept: bytes that autograd keeps from the forward to the backward pass, parameters apart.
        peak: most bytes allocated during a training step, parameters apart; None where the device does not count.
        flops: multiply-adds of inference with one image.
        trained: number of trained values.
        values: number of all.
    """

    name: str
    train: list[float] = field(default_factory=list)
    infer: list[float] = field(default_factory=list)
    floor_train: list[float] = field(default_factory=list)
    floor_infer: list[float] = field(default_factory=list)
    kept: int = 0
    peak: int | None = None
    flops: int = 0
    trained: int = 0
    values: int = 0


def find_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        ValueError: a GPU is asked for where there is none.
    """
    device = torch.device(name)
    if device.type == 'cuda' and not torch.cuda.is_available():
        raise ValueError(f'PyTorch {torch.__version__} finds no GPU here: run this where there is one, or --device cpu')
    return device


class Method(NamedTuple):
    """A method, as its config has it.

    Attributes:
        prompter: config of one or of several, or None.
        tune: patterns of what trains besides it.
        readout: what the head reads; None for what the network reads itself.
    """

    prompter: dict | list[dict] | None
    tune: Sequence[str]
    readout: str | None = None


def read_methods(paths: Iterable[Path], prompts: Sequence[int], options: Mapping[str, Any]) -> dict[str, Method]:
    """By name, what the methods' configs say.

    Args:
        paths: of configs, of ``configs/_base_/prompters``.
        prompts: a method that has a number of prompts is there once for each of these; without any, and of several
            prompters, each keeps its own number, which is the published one.
        options: replace what a prompter's config says.
    """
    methods: dict[str, Method] = {}

    def changed(config: Mapping[str, Any]) -> dict:
        return {**config, **{option: value for option, value in options.items() if option in config}}

    for path in paths:
        hook = Config.fromfile(path).custom_hooks[0]
        given, others = hook.get('prompter'), (list(hook['tune']), hook.get('readout'))
        if isinstance(given, list):
            methods[path.stem] = Method([changed(config) for config in given], *others)
            continue
        prompter = changed(given) if given else None
        if prompter is None or 'num_tokens' not in prompter or not prompts:
            methods[path.stem] = Method(prompter, *others)
            continue
        for number in prompts:
            methods[f'{path.stem}, {number} prompts'] = Method(dict(prompter, num_tokens=number), *others)
    return methods


def candidates(network: nn.Module, methods: Mapping[str, Method], baselines: bool = True) -> list[Candidate]:
    """The frozen network, and each method.

    Args:
        network: a library's own, with a classifier.
        methods: by name.
        baselines: whether full fine-tuning is there, and of each method its concatenated form where that is another.

    Raises:
        ValueError: a method does not fit the network.
    """
    weights = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}

    def another() -> nn.Module:
        return deepcopy(network, dict(weights))

    frozen = another()
    # The image as its tokens: the first of a network's parts embeds it.
    next(frozen.children()).register_forward_hook(lambda _, __, output: output.detach().requires_grad_())
    found = [Candidate(FROZEN, frozen, [])]
    if baselines:
        found.append(Candidate(FULL, another(), list(network.parameters())))
    for name, (prompter, tune, readout) in methods.items():
        model = vptx.attach(another(), prompter, tune, readout=readout)
        found.append(Candidate(name, model, _trained(model), _is_foldable(model), _is_mergeable(prompter)))
        if found[-1].foldable and baselines:
            net = wrap_backbone(another())
            net.geometry = replace(net.geometry, doors=net.geometry.doors - {'memory'})
            net.first_rows = lambda *arguments: None  # type: ignore[method-assign]
            net.block = partial(_as_the_library, net.block)  # type: ignore[method-assign]
            model = vptx.attach(PromptedNetwork(net, OWN), prompter, tune)
            found.append(Candidate(name + CONCATENATED, model, _trained(model)))
    return found


def _as_the_library(block: Callable[..., Tensor], tokens: Tensor, layer: int, context: Context, *rest: Any) -> Tensor:
    """A layer by its library's own forward: without a memory, and exact."""
    return block(tokens, layer, context)


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _is_foldable(model: nn.Module) -> bool:
    try:
        vptx.fold(model)
    except ValueError:
        return False
    return True


def _is_mergeable(prompter: dict | list[dict] | None) -> bool:
    """Whether ``vptx.merge`` puts all of it into the weights."""
    kinds = [config['type'] for config in (prompter if isinstance(prompter, list) else [prompter] if prompter else [])]
    return bool(kinds) and all(PROMPTERS.get(kind).merge is not Prompter.merge for kind in kinds)


def take_step(model: Callable[[Tensor], Tensor], image: Tensor, dtype: torch.dtype) -> Tensor:
    """Forward and backward of a training step; output (B, C), while gradients stay where they are. In a ``dtype`` other
    than float32, by autocast."""
    with _precision(image.device, dtype):
        output = model(image)
    output.float().square().mean().backward()
    return output.detach()


def _precision(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def timed(run: Callable[[], Any], device: torch.device, clock: str = 'wall') -> float:
    """Seconds that ``run`` takes, all that it started on the device included."""
    now = dict(wall=time.perf_counter, cpu=time.process_time)[clock]
    _wait(device)
    start = now()
    run()
    _wait(device)
    return now() - start


def measure(
    found: Sequence[Candidate],
    image: Tensor,
    rounds: int,
    dtype: torch.dtype = torch.float32,
    clock: str = 'wall',
    say: Callable[[int, list[Result]], Any] = lambda number, results: None,
    interleave: bool = False,
) -> list[Result]:
    """Time the candidates in ``rounds`` rounds, each a training step and an inference of everyone in turn.

    Args:
        found: on the device of ``image``.
        image: (B, 3, H, W).
        rounds: after the passes in which memory and multiply-adds are counted.
        dtype: other than float32, that of autocast.
        clock: ``'wall'``, or ``'cpu'``, the time that the process was given: for a machine that others use too.
        say: called after each round, counted from 1, and of the results so far.
        interleave: whether the frozen network has a turn next to each of the others, as where the load changes,
            instead of one in each round.
    """
    device, frozen = image.device, found[0]

    def step(candidate: Candidate) -> None:
        take_step(candidate.model, image, dtype)
        for parameter in candidate.trains:
            parameter.grad = None

    def infer(candidate: Candidate) -> None:
        with _precision(device, dtype), torch.inference_mode():
            candidate.model(image)

    def seconds(candidate: Candidate, training: bool) -> float:
        with candidate.turn(training):
            return timed(partial(step if training else infer, candidate), device, clock)

    results = []
    for candidate in found:
        with candidate.turn(training=False):
            result = Result(candidate.name, flops=count_flops(candidate.model, image[:1]))
        with candidate.turn(training=True):
            result.trained = sum(parameter.numel() for parameter in candidate.trains)
            result.values = sum(parameter.numel() for parameter in candidate.model.parameters())
            with _precision(device, dtype):
                result.kept = kept_bytes(candidate.model, image)
            result.peak = _peak_bytes(partial(step, candidate), device)
        results.append(result)
    for number in range(rounds):
        for candidate, result in zip(found, results, strict=True):
            for training, own, floor, of_round in (
                (True, result.train, result.floor_train, results[0].train),
                (False, result.infer, result.floor_infer, results[0].infer),
            ):
                least = seconds(frozen, training) if interleave and candidate is not frozen else None
                own.append(seconds(candidate, training))
                floor.append(of_round[-1] if least is None else least)
        say(number + 1, results)
    return results


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _peak_bytes(step: Callable[[], None], device: torch.device) -> int | None:
    if device.type != 'cuda':
        return None
    step()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return torch.cuda.max_memory_allocated(device) - before


def kept_bytes(model: nn.Module, image: Tensor) -> int:
    """Bytes that autograd keeps from a forward pass for its backward pass: each storage once, but no parameters.

    The same on every device and in every run; most of what a training step needs besides the parameters.
    """
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        tensor = tensor.detach()  # an output that its own function keeps would be part of a cycle, and never freed
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(image)  # held until it is counted, or its storages could be given to others
    total = sum(tensor.untyped_storage().nbytes() for address, tensor in kept.items() if address not in own)
    del output
    return total


class _Hidden(nn.Module):
    """A model whose parts fvcore does not find: it hooks into every one, and who has a listener goes no short way."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._call = model.__call__

    def forward(self, image: Tensor) -> Tensor:
        return self._call(image)


def count_flops(model: nn.Module, image: Tensor) -> int:
    """Multiply-adds of ``model`` with ``image``, by fvcore; fused attention counts as its two products."""
    trains = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trains:  # what trains cannot be a constant of a trace
        parameter.requires_grad = False
    analysis = FlopCountAnalysis(_Hidden(model), image)
    for kind in ('scaled_dot_product_attention', '_scaled_dot_product_flash_attention_for_cpu'):
        analysis.set_op_handle(f'aten::{kind}', _attention_flops)
    with torch.no_grad():
        total = analysis.unsupported_ops_warnings(False).tracer_warnings('none').total()
    for parameter in trains:
        parameter.requires_grad = True
    return int(total)


def _attention_flops(inputs: list[Any], outputs: list[Any]) -> int:
    *leading, rows, width = get_shape(inputs[0])
    keys, value_width = get_shape(inputs[2])[-2:]
    return int(torch.Size(leading).numel() * rows * keys * (width + value_width))


def markdown(results: Sequence[Result], batch: int | None = None) -> str:
    """A table of medians, and of medians of ratios to the frozen network next to it; of images a second
    instead of milliseconds where ``batch`` says how many images were timed."""
    frozen = results[0]
    memory = 'kept, MB' if frozen.peak is None else 'peak, MB'
    unit, over = ('ms', '/ frozen') if batch is None else ('images/s', 'time / frozen')
    head = ['', f'step, {unit}', over, f'inference, {unit}', over, memory, '/ frozen', 'GMAC', 'trained']

    def speed(times: Sequence[float]) -> str:
        return f'{1e3 * median(times):.0f}' if batch is None else f'{batch / median(times):,.0f}'

    lines = [f'| {" | ".join(head)} |', f'|---|{"---:|" * (len(head) - 1)}']
    for result in results:
        used, least = (r.kept if r.peak is None else r.peak for r in (result, frozen))
        cells = [
            result.name,
            speed(result.train),
            f'{_ratio(result.train, result.floor_train):.3f}',
            speed(result.infer),
            f'{_ratio(result.infer, result.floor_infer):.3f}',
            f'{used / 1e6:.0f}',
            f'{used / least:.3f}',
            f'{result.flops / 1e9:.2f}',
            f'{result.trained:,}',
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def _ratio(times: Sequence[float], frozen: Sequence[float]) -> float:
    return median(_ratios(times, frozen))


def _ratios(times: Sequence[float], frozen: Sequence[float]) -> list[float]:
    return [own / least for own, least in zip(times, frozen, strict=True)]


def plot(by_network: Mapping[str, Sequence[Result]], path: str | Path) -> None:
    """Draw ratios to the frozen network into a PNG: a row of panels for each network, a line for each candidate.

    A dot is the median, the bar under it goes from the lowest to the highest round; grey are baselines.
    """
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    tallest = max(map(len, by_network.values()))
    figure = Figure(figsize=(13, len(by_network) * (1.1 + 0.3 * tallest)), layout='constrained')
    rows = figure.subplots(len(by_network), 3, squeeze=False)
    for panels, (network, results) in zip(rows, by_network.items(), strict=True):
        frozen, names = results[0], [result.name for result in results]
        for column, (panel, title) in enumerate(zip(panels, ('training step', 'inference', 'activations kept'))):
            for line, result in enumerate(results):
                ratios = (
                    _ratios(result.train, result.floor_train),
                    _ratios(result.infer, result.floor_infer),
                    [result.kept / frozen.kept],
                )[column]
                is_baseline = result.name in (FROZEN, FULL) or result.name.endswith(CONCATENATED)
                colour = '0.55' if is_baseline else '#0072B2'
                panel.plot([min(ratios), max(ratios)], [line, line], color=colour, alpha=0.35, linewidth=5)
                panel.plot(median(ratios), line, 'o', color=colour, markersize=6, markeredgecolor='white')
                place = dict(xytext=(7, 0), textcoords='offset points', va='center', size=8)
                panel.annotate(f'{median(ratios):.2f}', (max(ratios), line), **place)
            panel.axvline(1, color='0.3', linewidth=1, zorder=0)
            panel.set_yticks(range(len(names)), [''] * len(names) if column else names)
            panel.set_ylim(len(names) - 0.5, -0.5)
            panel.margins(x=0.12)
            panel.set_xlim(left=0)
            panel.set_title(title if column else f'{network}: {title}', loc='left', fontweight='bold')
            panel.set_xlabel('times the frozen network')
            panel.grid(axis='x', color='0.88', linewidth=0.8)
            panel.set_axisbelow(True)
            panel.tick_params(length=0)
            for side in ('top', 'right', 'left'):
                panel.spines[side].set_visible(False)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=160, format='png')
    write_whole(path, drawn.getvalue())


def write_json(by_network: Mapping[str, Sequence[Result]], settings: Mapping[str, Any], path: str | Path) -> None:
    """Every round of every candidate, and the settings that they were measured with."""
    results = {network: [asdict(result) for result in found] for network, found in by_network.items()}
    write_whole(path, json.dumps(dict(settings=dict(settings), results=results), indent=1).encode())
