"""Compare the text side of a training step with the published way, which runs every class by itself:

python tools/benchmark_text.py --tokens 4 16 --threads 1
"""

import argparse

import torch
from mmengine.config import DictAction

from vptx.benchmark.text import compare, markdown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tower', nargs='+', action=DictAction, default={}, help="default: the shape of ViT-B/16's")
    parser.add_argument('--tokens', nargs='+', type=int, default=[4, 16], help='numbers of context vectors')
    parser.add_argument('--rounds', type=int, default=3, help='in each of which both have a turn')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='on a CPU')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(markdown(compare(args.tower, args.tokens, args.rounds)))


if __name__ == '__main__':
    main()
