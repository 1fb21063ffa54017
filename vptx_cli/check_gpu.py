"""Check and measure what needs a GPU, and write a page with today's date into --out:

vptx check-gpu
vptx check-gpu --nets vit_base_patch16_224 --batches 32 --rounds 3

For every network: half precision, compilation in one graph and every kernel of fused attention with prompts as keys and
values, against concatenated prompts; then times and peak memory next to the frozen baseline, concatenated prompts and
full fine-tuning (vptx benchmark defines these). Ends with status 1 if a difference is too large.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vptx_cli.arguments import Options

if TYPE_CHECKING:
    import torch

NETS = ['vit_base_patch16_224', 'vit_large_patch16_224', 'swin_base_patch4_window7_224']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--nets', nargs='+', default=NETS, help="timm's names")
    parser.add_argument('--prompts', nargs='+', type=int, default=[50, 100], help='in every layer')
    parser.add_argument('--batches', nargs='+', type=int, default=[64, 128], help='images')
    parser.add_argument('--size', type=int, default=224, help='of an image, pixels')
    parser.add_argument('--rounds', type=int, default=10, help='in each of which everyone has a turn')
    parser.add_argument('--dtype', choices=['bfloat16', 'float16'], default='bfloat16', help='of autocast')
    parser.add_argument('--compiler', default='inductor', help='backend of torch.compile')
    parser.add_argument('--device', default='cuda', help='cpu: the same, to see what it does')
    parser.add_argument('--net-options', nargs='+', action=Options, default={}, help='of timm, such as depth=2')
    parser.add_argument('--out', default='docs/benchmarks', help='folder of the page')


def run(args: argparse.Namespace) -> None:
    import timm
    import torch

    from vptx.benchmark import parity
    from vptx.benchmark.speed import CONCATENATED, candidates, find_device, markdown, measure, read_methods
    from vptx.files import write_whole
    from vptx.shipped import shipped

    try:
        device = find_device(args.device)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False  # the others are compared with float32
    dtype = getattr(torch, args.dtype)
    # Dropout draws other masks in another form.
    methods = read_methods([shipped('configs') / '_base_' / 'prompters' / 'deep.py'], args.prompts, dict(dropout=0.0))
    on = torch.cuda.get_device_name() if device.type == 'cuda' else 'CPU'
    page, faults = [f'# {on}, {date.today()}', *_settings(device)], []

    def add(title: str, text: Callable[[], str]) -> None:
        try:
            page.append(f'## {title}\n\n{text()}')
        except torch.cuda.OutOfMemoryError:
            faults.append(f'{title}: takes more memory than there is')
        else:
            print(f'\n{page[-1]}', flush=True)

    def compare_ways(name: str) -> str:
        memory, usual = by_name[name], by_name[name + CONCATENATED]
        ways = parity.compare_ways(memory, usual, images[0], dtype, args.compiler, args.rounds)
        faults.extend(f'{net}, {name}, {fault}' for fault in parity.faults(ways))
        return parity.markdown(ways)

    def compare_speed(image: 'torch.Tensor') -> str:
        return markdown(measure(list(by_name.values()), image, args.rounds, dtype), len(image))

    for net in args.nets:
        network = timm.create_model(net, img_size=args.size, num_classes=100, **args.net_options).to(device)
        by_name = {candidate.name: candidate for candidate in candidates(network, methods)}
        images = [torch.randn(batch, 3, args.size, args.size, device=device) for batch in args.batches]
        for name in methods:
            add(f'{net}, {name}, {len(images[0])} images: ways to compute it', partial(compare_ways, name))
        for image in images:
            add(f'{net}, {len(image)} images, {args.dtype}', partial(compare_speed, image))
    add('What does not hold', lambda: '\n'.join(f'* {fault}' for fault in faults) or 'Nothing.')
    path = Path(args.out, f'{date.today()}_{on.replace(" ", "_")}.md')
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, ('\n\n'.join(page) + '\n').encode())
    print(f'\n{path}')
    if faults:
        raise SystemExit(1)


def _settings(device: 'torch.device') -> list[str]:
    """What the figures depend on, as paragraphs."""
    import timm
    import torch

    facts = [f'PyTorch {torch.__version__}', f'timm {timm.__version__}']
    if device.type == 'cuda':
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        facts += [f'CUDA {torch.version.cuda}', f'cuDNN {torch.backends.cudnn.version()}', f'{memory:.0f} GiB']
    command = shlex.join(['python', 'tools/check_gpu.py', *sys.argv[1:]])
    return [f'{", ".join(facts)}.', f'```\n{command}\n```']
