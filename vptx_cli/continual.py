"""Learn the classes of a mini task in five tasks, one after the other, and print average accuracy and forgetting:

vptx continual                                  # mini_objects, each method at the best of four rates, five seeds
vptx continual --rates 0.01 --seeds 0 1 2       # a rate for all

The rate is chosen on validation images with the first seed. What is done is stored in --out, and is not repeated.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from vptx_cli.configs import shipped

ROW = '| {:16} | {:>6} | {:>22} | {:>22} |'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--data', default='mini_objects', help='a task of Mini-VTAB with a number of classes that --tasks divides'
    )
    parser.add_argument('--tasks', type=int, default=5)
    parser.add_argument('--epochs', type=int, default=10, help='of each task')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2, 3, 4])
    parser.add_argument('--rates', type=float, nargs='+', default=[0.001, 0.003, 0.01, 0.03])
    parser.add_argument('--methods', nargs='+', help='some of them; all by default')
    parser.add_argument('--out', default='work_dirs/continual', help='folder of results.json')


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
        results = _Results(Path(args.out, 'results.json'))
    except ValueError as error:
        raise SystemExit(str(error)) from error
    print(ROW.format('method', 'rate', 'average accuracy, %', 'forgetting, points'))
    print('|---|---:|---:|---:|')
    for name in args.methods or METHODS:
        chosen = args.rates[0]
        if len(args.rates) > 1:
            tried = {rate: results.of(args, name, tasks, rate, args.seeds[0], 'val')[0] for rate in sorted(args.rates)}
            chosen = max(tried, key=lambda rate: tried[rate])
        found = [results.of(args, name, tasks, chosen, seed, 'test') for seed in args.seeds]
        print(ROW.format(name, f'{chosen:g}', *map(_spread, zip(*found, strict=True))), flush=True)


class _Results:
    """Average accuracy and forgetting of each run, in a file.

    Raises:
        ValueError: begins with the file; it holds something else.
    """

    def __init__(self, path: Path) -> None:
        from vptx.files import read_json

        self.path = path
        self.found = read_json(path) if path.is_file() else {}
        pairs = self.found.values() if isinstance(self.found, dict) else [None]
        if not all(
            isinstance(pair, list) and len(pair) == 2 and all(type(number) is float for number in pair)
            for pair in pairs
        ):
            raise ValueError(f'{path} is damaged: expected two numbers of each run. Remove it, or give another --out')

    def of(
        self, args: argparse.Namespace, name: str, tasks: Sequence[range], rate: float, seed: int, split: str
    ) -> list[float]:
        from vptx.files import write_whole

        key = f'{args.data}, {args.tasks} tasks, {args.epochs} epochs, {name}, rate {rate:g}, seed {seed}, {split}'
        if key not in self.found:
            self.found[key] = _learn(args, name, tasks, rate, seed, split)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps(self.found, indent=1).encode())
        return self.found[key]


def _learn(
    args: argparse.Namespace, name: str, tasks: Sequence[range], rate: float, seed: int, split: str
) -> list[float]:
    import torch

    from vptx.studies import continual

    method = continual.METHODS[name]
    train, test = (continual.read(args.data, part) for part in ('train', split))
    torch.manual_seed(seed)
    classes = sum(map(len, tasks))
    model = continual.classifier(classes, shipped('weights') / 'vit_mini_sup.npz', method)
    if method.get('joint'):
        found = continual.learn_jointly(model, train, test, tasks, epochs=args.epochs * args.tasks, lr=rate)
    else:
        found = continual.learn(model, train, test, tasks, epochs=args.epochs, lr=rate)
    return [continual.average_accuracy(found), continual.forgetting(found)]


def _spread(values: Sequence[float]) -> str:
    mean = sum(values) / len(values)
    return f'{mean:.1f} ({min(values):.1f} to {max(values):.1f})' if len(values) > 1 else f'{mean:.1f}'
