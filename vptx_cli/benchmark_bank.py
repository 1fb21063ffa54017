"""Measure what a mixed batch of a bank of tasks costs, against one task alone and the frozen network:

vptx benchmark-bank --net vit_base_patch16_224 --prompts 50 --tasks 1 8 32 --rounds 5
vptx benchmark-bank --lora 8          # with as many LoRA adapters of PEFT on the same network

Prints a Markdown table of ratios, each of two times of the same round.
"""

import argparse

from vptx_cli.arguments import Options, at_least_1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--net', default='vit_base_patch16_224', help="timm's name")
    parser.add_argument('--net-options', nargs='+', action=Options, default={}, help='of timm, such as depth=2')
    parser.add_argument('--prompts', type=at_least_1, default=50, help='in every layer')
    parser.add_argument('--tasks', nargs='+', type=at_least_1, default=[1, 8, 32], help='in a batch')
    parser.add_argument('--batch', type=at_least_1, default=32, help='images')
    parser.add_argument('--classes', type=at_least_1, default=100, help='of each task')
    parser.add_argument('--lora', type=int, default=0, metavar='RANK', help='of adapters of PEFT; 0 leaves them out')
    parser.add_argument('--rounds', type=at_least_1, default=5, help='in each of which everyone has a turn')
    parser.add_argument('--threads', type=at_least_1, help='by default all that torch uses')
    parser.add_argument('--clock', choices=['cpu', 'wall'], default='cpu', help='cpu: time given to the process')


def run(args: argparse.Namespace) -> None:
    import timm
    import torch

    from vptx.serve.figures import markdown, measure

    torch.set_num_threads(args.threads or torch.get_num_threads())
    torch.manual_seed(0)
    network = timm.create_model(args.net, num_classes=args.classes, **args.net_options)
    try:
        found = measure(
            network,
            args.prompts,
            args.tasks,
            args.batch,
            args.rounds,
            args.clock,
            lambda line: print(line, flush=True),
            args.lora,
        )
    except ImportError as error:
        raise SystemExit(str(error)) from error
    print(markdown(found))
