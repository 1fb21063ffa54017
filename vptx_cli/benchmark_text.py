"""Compare the text side of a training step with the published way, which runs every class by itself:

vptx benchmark-text --tokens 4 16 --threads 1
"""

import argparse

from vptx_cli.arguments import Options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--tower', nargs='+', action=Options, default={}, help="default: the shape of ViT-B/16's")
    parser.add_argument('--tokens', nargs='+', type=int, default=[4, 16], help='numbers of context vectors')
    parser.add_argument('--rounds', type=int, default=3, help='in each of which both have a turn')
    parser.add_argument('--threads', type=int, help='on a CPU; by default all that torch uses')


def run(args: argparse.Namespace) -> None:
    import torch

    from vptx.benchmark.text import compare, markdown

    torch.set_num_threads(args.threads or torch.get_num_threads())
    torch.manual_seed(0)
    print(markdown(compare(args.tower, args.tokens, args.rounds)))
