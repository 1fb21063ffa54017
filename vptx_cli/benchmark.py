"""Measure methods, and compare them with the frozen network, concatenated prompts and full fine-tuning:

vptx benchmark --methods deep shallow --prompts 50 100 200 --options dropout=0 --threads 2
vptx benchmark --methods lora ssf rep_adapter fact --interleave --no-baselines     # inference is that of merged weights
vptx benchmark --nets swin_base_patch4_window7_224 --methods deep --prompts 50 --device cuda --dtype bfloat16

Prints a Markdown table for each network, and writes it to --out as table.md, benchmark.json and benchmark.png.
"""

import argparse
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from vptx_cli.arguments import Options
from vptx_cli.configs import prompter_names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    # 'full' is a baseline, and segmentation's tune heads that a classifier lacks.
    known = [name for name in prompter_names() if name != 'full' and not name.startswith('seg_')]
    parser.add_argument('--nets', nargs='+', default=['vit_base_patch16_224'], help="timm's names")
    default = ['deep', 'shallow', 'linear', 'bias', 'lora']
    parser.add_argument('--methods', nargs='+', default=default, choices=known, help='files of _base_/prompters')
    parser.add_argument('--prompts', nargs='+', type=int, default=[], help="numbers of prompts; else the configs' own")
    parser.add_argument('--options', nargs='+', action=Options, default={}, help='of prompters, such as dropout=0')
    parser.add_argument('--batch', type=int, default=8, help='images')
    parser.add_argument('--size', type=int, default=224, help='of an image, pixels')
    parser.add_argument('--classes', type=int, default=100, help='of the classifier')
    parser.add_argument('--rounds', type=int, default=10, help='in each of which everyone has a turn')
    parser.add_argument(
        '--interleave', action='store_true', help='the frozen network next to each method, not once in each round'
    )
    parser.add_argument(
        '--no-baselines', action='store_true', help='neither full fine-tuning nor concatenated forms of prompts'
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda')
    parser.add_argument('--dtype', choices=['float32', 'bfloat16', 'float16'], default='float32', help='of autocast')
    parser.add_argument('--threads', type=int, help='on a CPU; by default all that torch uses')
    parser.add_argument('--clock', choices=['wall', 'cpu'], default='wall', help='cpu: time given to the process')
    parser.add_argument('--net-options', nargs='+', action=Options, default={}, help='of timm, such as depth=2')
    parser.add_argument('--out', default='work_dirs/benchmark', help='folder for table, numbers and plot')


def run(args: argparse.Namespace) -> None:
    import timm
    import torch

    from vptx.benchmark.speed import Result, candidates, find_device, markdown, measure, plot, read_methods, write_json
    from vptx.files import write_whole
    from vptx.shipped import shipped

    try:
        device = find_device(args.device)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    args.threads = args.threads or torch.get_num_threads()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    image = torch.randn(args.batch, 3, args.size, args.size, device=device)
    methods = read_methods(
        [shipped('configs') / '_base_' / 'prompters' / f'{name}.py' for name in args.methods],
        args.prompts,
        args.options,
    )
    results, tables = {}, []

    def show(net: str, number: int, found: Sequence[Result]) -> None:
        print(f'{net}, round {number}\n{markdown(found)}\n', flush=True)

    for net in args.nets:
        options = {'img_size': args.size, 'num_classes': args.classes, **args.net_options}
        network = timm.create_model(net, **options).to(device)
        results[net] = measure(
            candidates(network, methods, not args.no_baselines),
            image,
            args.rounds,
            getattr(torch, args.dtype),
            args.clock,
            partial(show, net),
            args.interleave,
        )
        tables.append(f'**{net}**\n\n{markdown(results[net])}')
    print('\n\n'.join(tables))
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    on = torch.cuda.get_device_name() if device.type == 'cuda' else platform.processor() or platform.machine()
    settings = {**vars(args), 'processor': on, 'torch': torch.__version__, 'timm': timm.__version__}
    write_json(results, settings, out / 'benchmark.json')
    write_whole(out / 'table.md', '\n\n'.join(tables).encode())
    plot(results, out / 'benchmark.png')
