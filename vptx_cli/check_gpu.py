"""Check and measure what needs a GPU, and write a page with today's date into --out:

vptx check-gpu
vptx check-gpu --minutes 8
vptx check-gpu --nets vit_base_patch16_224 --batches 32 --rounds 3 --parts speed ways

In this order: a process group of NCCL; for every network, times and peak memory next to the frozen baseline,
concatenated prompts, LoRA of PEFT where that is installed, and full fine-tuning (vptx benchmark defines these); a run
of segmentation in bfloat16 on random images of ADE20K's size, without and with activation checkpointing; for every
network, both half precisions, compilation in one graph and every kernel of fused attention with prompts as keys and
values, against concatenated prompts.

The page is written after each part, and a part that fails is named in it. So are those for which --minutes leaves no
time: run them by --parts. Weights are random, so nothing is downloaded. Ends with status 1 if a part has failed or was
left out, a difference is too large or a target is missed.
"""

import argparse
import os
import shlex
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import date
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from unittest.mock import patch

from vptx_cli.arguments import Options

if TYPE_CHECKING:
    import torch
    from torch import nn

    from vptx.benchmark.speed import Candidate, Result

#: How much longer than the frozen baseline: training steps with so many deep prompts, and folded inference.
TARGETS = {50: 1.0, 200: 1.1}
FOLDED = 1.02
NETS = ['vit_base_patch16_224', 'vit_large_patch16_224', 'swin_base_patch4_window7_224']
PARTS = ['group', 'speed', 'segmentation', 'ways']
#: Seconds after which the signal comes again to a part that has no time left and has not ended.
AGAIN = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--nets', nargs='+', default=NETS, help="timm's names")
    parser.add_argument('--prompts', nargs='+', type=int, default=[50, 200], help='in every layer')
    parser.add_argument('--batches', nargs='+', type=int, default=[64, 128], help='images')
    parser.add_argument('--size', type=int, default=224, help='of an image, pixels')
    parser.add_argument('--rounds', type=int, default=10, help='in each of which everyone has a turn')
    parser.add_argument(
        '--dtypes',
        nargs='+',
        choices=['bfloat16', 'float16'],
        default=['bfloat16', 'float16'],
        help='of autocast; times are of the first',
    )
    parser.add_argument('--compiler', default='inductor', help='backend of torch.compile')
    parser.add_argument('--device', default='cuda', help='cpu: the same, to see what it does')
    parser.add_argument('--net-options', nargs='+', action=Options, default={}, help='of timm, such as depth=2')
    parser.add_argument('--segmentation', default='seg/setr_vitl_vpt', help='a config on ADE20K')
    parser.add_argument('--seg-options', nargs='+', action=Options, default={}, help='settings of it to override')
    parser.add_argument('--iterations', type=int, default=200, help='of segmentation; 0 leaves it out')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS, help='of the page')
    parser.add_argument('--minutes', type=float, help='for all; what is left then is left out')
    parser.add_argument('--out', default='docs/benchmarks', help='folder of the page')


def run(args: argparse.Namespace) -> None:
    import timm
    import torch

    from vptx.benchmark import parity
    from vptx.benchmark.speed import CONCATENATED, FROZEN, candidates, find_device, markdown, measure, read_methods
    from vptx.files import write_whole
    from vptx.shipped import shipped

    try:
        device = find_device(args.device)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False  # the others are compared with float32
    # Dropout draws other masks in another form.
    methods = read_methods([shipped('configs') / '_base_' / 'prompters' / 'deep.py'], args.prompts, dict(dropout=0.0))
    on = torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'
    head, page, faults = [f'# {on}, {date.today()}', *_settings(device)], list[str](), list[str]()
    path = _free(Path(args.out, f'{date.today()}_{on.replace(" ", "_")}.md'))
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * args.minutes if args.minutes else None

    def add(title: str, text: Callable[[], str]) -> None:
        try:
            with _until(end):
                page.append(f'## {title}\n\n{text()}')
        except Exception as error:  # the other parts can still be measured
            if not isinstance(error, TimeoutError):
                traceback.print_exc()
            faults.append(f'{title}: {type(error).__name__}: {(str(error).strip().splitlines() or [""])[0]}')
            print(f'\n{faults[-1]}', flush=True)
        else:
            print(f'\n{page[-1]}', flush=True)
        last = '\n'.join(f'* {fault}' for fault in faults) or 'Nothing.'
        write_whole(path, '\n\n'.join([*head, *page, f'## What does not hold\n\n{last}\n']).encode())

    def candidates_of(net: str) -> 'dict[str, Candidate]':
        """In place of those of the network before it, whose memory is free then."""
        if net not in built:
            built.clear()
            network = timm.create_model(net, img_size=args.size, num_classes=100, **args.net_options).to(device)
            built[net] = {candidate.name: candidate for candidate in [*candidates(network, methods), *_lora(network)]}
        return built[net]

    def images(batch: int) -> 'torch.Tensor':
        return torch.randn(batch, 3, args.size, args.size, device=device)

    def compare_ways(net: str, name: str, dtype: str) -> str:
        found = candidates_of(net)
        memory, usual = found[name], found[name + CONCATENATED]
        half = getattr(torch, dtype)
        ways = parity.compare_ways(memory, usual, images(args.batches[0]), half, args.compiler, args.rounds)
        faults.extend(f'{net}, {name}, {dtype}, {fault}' for fault in parity.faults(ways))
        return parity.markdown(ways)

    def compare_speed(net: str, batch: int) -> str:
        image, dtype = images(batch), getattr(torch, args.dtypes[0])
        fit: list[Candidate] = []
        for candidate in candidates_of(net).values():
            try:
                measure([candidate], image, 0, dtype)
                fit.append(candidate)
            except torch.cuda.OutOfMemoryError:
                faults.append(f'{net}, {batch} images: {candidate.name} takes more memory than there is')
                candidate.model.zero_grad()
        if FROZEN not in [candidate.name for candidate in fit]:
            raise RuntimeError('without the frozen baseline there is nothing to compare with')
        results = measure(fit, image, args.rounds, dtype)
        missed, lines = _targets(results)
        if device.type == 'cuda':
            faults.extend(f'{net}, {batch} images: {fault}' for fault in missed)
        return f'{markdown(results, batch)}\n\n{lines}'.strip()

    built: dict[str, dict[str, Candidate]] = {}
    if 'group' in args.parts:
        add('Process group of one', partial(_exchange, device))
    for net in args.nets if 'speed' in args.parts else ():
        for batch in args.batches:
            add(f'{net}, {batch} images, {args.dtypes[0]}', partial(compare_speed, net, batch))
    built.clear()
    for checkpointed in (False, True) if args.iterations and 'segmentation' in args.parts else ():
        add(
            f'{args.segmentation}, bfloat16, {args.iterations} iterations'
            + (', activations checkpointed' if checkpointed else ''),
            partial(_segment, args, checkpointed),
        )
    for net in args.nets if 'ways' in args.parts else ():
        for name in methods:
            for dtype in args.dtypes:
                title = f'{net}, {name}, {args.batches[0]} images, {dtype}: ways to compute it'
                add(title, partial(compare_ways, net, name, dtype))
    print(f'\n{path}')
    if faults:
        raise SystemExit(1)


def _free(path: Path) -> Path:
    """The path, or one with a number: an earlier page of the day may have other parts."""
    names = (path.with_stem(f'{path.stem}_{number}') for number in range(2, 1000))
    return next(name for name in (path, *names) if not name.exists())


@contextmanager
def _until(end: float | None) -> Iterator[None]:
    """Raise a TimeoutError in the context when ``time.monotonic`` comes to ``end``, at once if it is there already."""

    def stop(*_: object) -> None:
        raise TimeoutError('no time is left for it')

    if end is None:
        yield
        return
    if (left := end - time.monotonic()) <= 0:
        stop()
    before = signal.signal(signal.SIGALRM, stop)
    try:
        # Again and again: what runs when the first comes, such as a callback of the garbage collector, may swallow it.
        signal.setitimer(signal.ITIMER_REAL, left, AGAIN)
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _lora(network: 'nn.Module') -> 'list[Candidate]':
    """LoRA of PEFT on queries, keys and values, and the classifier; nothing where PEFT is not installed."""
    from vptx.benchmark.speed import Candidate

    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        return []
    weights = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    model = deepcopy(network, dict(weights))
    model = inject_adapter_in_model(LoraConfig(r=8, target_modules=r'.*attn\.qkv'), model)
    own = [parameter for name, parameter in model.named_parameters() if 'lora_' in name]
    return [Candidate('LoRA of PEFT, rank 8', model, [*own, *network.get_classifier().parameters()])]


def _targets(results: 'Sequence[Result]') -> tuple[list[str], str]:
    """Which targets are missed, and a line for each that was measured."""
    frozen, missed, lines = results[0], [], []
    for result in results:
        number = next((n for n in TARGETS if result.name.endswith(f', {n} prompts')), None)
        if number is None:
            continue
        pairs = zip((result.train, result.infer), (frozen.train, frozen.infer), strict=True)
        ratios = [median(a / b for a, b in zip(*times, strict=True)) for times in pairs]
        for what, ratio, target in zip(('training step', 'folded inference'), ratios, (TARGETS[number], FOLDED)):
            line = f'{result.name}, {what}: {ratio:.2f} times the frozen baseline, target {target:.2f}'
            lines.append(f'* {line}')
            if ratio > target:
                missed.append(line)
    return missed, '\n'.join(lines)


def _exchange(device: 'torch.device') -> str:
    """Start a process group as a run with --launcher pytorch does, and add something up in it."""
    import socket

    import torch
    from mmengine.config import Config
    from torch import distributed

    from vptx.launch import join

    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    place = dict(RANK='0', WORLD_SIZE='1', LOCAL_RANK='0', MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    with patch.dict(os.environ, place):
        join(Config(dict(launcher='pytorch')))
        backend, value = distributed.get_backend(), torch.ones(1_000_000, device=device)
        distributed.all_reduce(value)
        total = value.sum().item()
        distributed.destroy_process_group()
    if total != 1_000_000:
        raise RuntimeError(f'{backend} adds up to {total}, not 1,000,000')
    return f'{backend} has started and added up a million values.'


def _segment(args: argparse.Namespace, checkpointed: bool) -> str:
    from vptx.benchmark.segmentation import train_segmentor, write_photographs

    with TemporaryDirectory() as folder:
        data, work_dir = write_photographs(Path(folder, 'data')), Path(folder, f'work_{checkpointed}')
        options = args.seg_options
        return train_segmentor(args.segmentation, data, work_dir, args.iterations, options, checkpointed).markdown()


def _settings(device: 'torch.device') -> list[str]:
    """What the figures depend on, as paragraphs."""
    import timm
    import torch

    facts = [f'PyTorch {torch.__version__}', f'timm {timm.__version__}']
    facts.append(f'PEFT {version("peft")}' if find_spec('peft') else 'PEFT is not installed: its LoRA is not measured')
    if device.type == 'cuda':
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        facts += [f'CUDA {torch.version.cuda}', f'cuDNN {torch.backends.cudnn.version()}', f'{memory:.0f} GiB']
    command = shlex.join(['python', 'tools/check_gpu.py', *sys.argv[1:]])
    return [f'{", ".join(facts)}.', f'```\n{command}\n```']
