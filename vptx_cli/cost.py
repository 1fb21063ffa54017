"""Estimate the hours of the paper's grid on VTAB-1k on so many GPUs, from a few figures that are measured once:

vptx cost --train 700 --infer 2200
vptx cost --train 700 --infer 2200 --points 24 --gpus 1 4

19 tasks, each with --points runs of the selection and --seeds final ones; with and without ASHA, and for a linear probe
with and without cached features. The figures are those of a GPU: vptx benchmark or vptx check-gpu measures them.
"""

import argparse

from vptx_cli.arguments import at_least_1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--train', type=float, required=True, help='images a second of a training step with prompts')
    parser.add_argument('--infer', type=float, required=True, help='images a second of inference')
    parser.add_argument('--read', type=float, default=float('inf'), help='images a second of the loader of a run')
    parser.add_argument('--start', type=float, default=15.0, help='seconds of a run before its first step')
    parser.add_argument('--points', type=at_least_1, default=240, help='of the grid of a task')
    parser.add_argument('--seeds', type=at_least_1, default=5, help='final runs of a task')
    parser.add_argument('--epochs', type=at_least_1, default=100, help='of a run, with eleven validations')
    parser.add_argument('--gpus', type=at_least_1, nargs='+', default=[1, 8, 64], help='columns of the table')


def run(args: argparse.Namespace) -> None:
    from vptx.studies.cost import VTAB, Grid, Machine, markdown

    if min(args.train, args.infer, args.read) <= 0 or args.start < 0:
        raise SystemExit('--train, --infer and --read must be more than 0, and --start at least 0')
    machine = Machine(args.train, args.infer, args.read, args.start)
    print(markdown(machine, VTAB, Grid(args.points, args.seeds, args.epochs, looks=11), args.gpus))
