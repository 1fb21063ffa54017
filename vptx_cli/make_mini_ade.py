"""Write the mini ADE20K, scenes in ADE20K's file layout, in half a minute:

vptx make-mini-ade
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--out', type=Path, default=Path('data/mini_ade'), help='a folder that does not exist yet')
    parser.add_argument('--train', type=int, default=800, help='number of training images')
    parser.add_argument('--val', type=int, default=200, help='number of validation images')
    parser.add_argument('--test', type=int, default=200, help='number of test images')
    parser.add_argument('--size', type=int, default=128, help='pixels of a side')
    parser.add_argument('--seed', type=int, default=0)


def run(args: argparse.Namespace) -> None:
    from vptx.datasets.mini.scenes import CLASSES, write

    if args.out.exists() and any(args.out.iterdir()):
        raise SystemExit(f'{args.out} is not empty: remove it, or give another --out')
    write(args.out, args.train, args.val, args.test, args.size, args.seed)
    numbers = f'{args.train} + {args.val} + {args.test}'
    print(f'{args.out}: {numbers} images of {args.size} x {args.size} pixels, {len(CLASSES)} classes')
