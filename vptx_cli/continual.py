"""Learn the classes of a mini task in five tasks, one after the other, and print average accuracy and forgetting:

vptx continual                           # mini_objects, three seeds, test images
vptx continual --select --seeds 0        # all rates, on validation images
"""

import argparse
from collections.abc import Sequence
from typing import Any

from vptx_cli.configs import shipped

RATES = (0.001, 0.003, 0.01, 0.03)
ROW = '| {:16} | {:>6} | {:>22} | {:>22} |'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--data', default='mini_objects', help='a task of Mini-VTAB with a number of classes that --tasks divides'
    )
    parser.add_argument('--tasks', type=int, default=5)
    parser.add_argument('--epochs', type=int, default=10, help='of each task')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--methods', nargs='+', help='some of them; all by default')
    parser.add_argument('--select', action='store_true', help='try all rates on validation images')


def run(args: argparse.Namespace) -> None:
    from vptx.datasets.mini.mini_vtab import MINI_VTAB
    from vptx.studies.continual import METHODS, split_classes

    unknown = sorted(set(args.methods or ()) - set(METHODS))
    if unknown:
        raise SystemExit(f'there are no methods {", ".join(unknown)}, only {", ".join(METHODS)}')
    if args.data not in MINI_VTAB:
        raise SystemExit(f'there is no task {args.data!r}, only {", ".join(MINI_VTAB)}')
    try:
        tasks = split_classes(MINI_VTAB[args.data].classes, args.tasks)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    print(ROW.format('method', 'rate', 'average accuracy, %', 'forgetting, points'))
    print('|---|---:|---:|---:|')
    for name in args.methods or METHODS:
        for rate in RATES if args.select else [METHODS[name]['lr']]:
            split = 'val' if args.select else 'test'
            found = [_learn(args, METHODS[name], tasks, rate, seed, split) for seed in args.seeds]
            print(ROW.format(name, f'{rate:g}', *map(_spread, zip(*found, strict=True))), flush=True)


def _learn(
    args: argparse.Namespace, method: dict[str, Any], tasks: Sequence[range], rate: float, seed: int, split: str
) -> tuple[float, float]:
    import torch

    from vptx.studies import continual

    train, test = (continual.read(args.data, part) for part in ('train', split))
    torch.manual_seed(seed)
    classes = sum(map(len, tasks))
    model = continual.classifier(classes, shipped('weights') / 'vit_mini_sup.npz', method)
    if method.get('joint'):
        found = continual.learn_jointly(model, train, test, tasks, epochs=args.epochs * args.tasks, lr=rate)
    else:
        found = continual.learn(model, train, test, tasks, epochs=args.epochs, lr=rate)
    return continual.average_accuracy(found), continual.forgetting(found)


def _spread(values: Sequence[float]) -> str:
    mean = sum(values) / len(values)
    return f'{mean:.1f} ({min(values):.1f} to {max(values):.1f})' if len(values) > 1 else f'{mean:.1f}'
