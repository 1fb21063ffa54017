"""Ask CLIP-mini, without training, about scenes and figures:

vptx zero-shot                         # test images of three seeds
vptx zero-shot --split val --seeds 0   # validation images

Scenes show pairs that it saw in pre-training, or held-out ones. Figures are classification tasks with class names.
"""

import argparse
from pathlib import Path

from vptx_cli.configs import shipped

ROW = '| {:24} | {:>7} | {:>20} | {:>20} |'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--weights', type=Path, default=shipped('weights'), help='the folder with the files of CLIP-mini'
    )
    parser.add_argument('--split', choices=['val', 'test'], default='test')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='of the images')
    parser.add_argument('--scenes', type=int, default=2000, help='scenes of each seed')


def run(args: argparse.Namespace) -> None:
    from vptx.datasets import CaptionedScenes, FigureTask
    from vptx.datasets.mini.captioned_scenes import QUESTIONS
    from vptx.datasets.mini.figure_tasks import TASKS
    from vptx.pretraining import ask, load_clip_mini
    from vptx.pretraining.zero_shot import classify

    try:
        model = load_clip_mini(args.weights)
    except (ImportError, FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error

    found = {
        pairs: [ask(model, CaptionedScenes(args.scenes, args.split, pairs, seed=seed)) for seed in args.seeds]
        for pairs in ('seen', 'unseen')
    }
    print(ROW.format('question', 'chance', 'pairs that it saw', 'held-out pairs'))
    for name, asked in QUESTIONS.items():
        cells = [spread([row[name] for row in rows]) for rows in found.values()]
        print(ROW.format(name.replace('_', ', '), f'{100 / len(asked.answers):.1f}', *cells))
    print()
    print(ROW.format('task, its names alone', 'all 20', 'base', 'new'))
    for task in TASKS:
        parts = [
            spread([classify(model, FigureTask(task, args.split, part, seed=seed)) for seed in args.seeds])
            for part in ('all', 'base', 'new')
        ]
        print(ROW.format(task, *parts))


def spread(values: list[float]) -> str:
    """Mean, and range of several."""
    mean = sum(values) / len(values)
    return f'{mean:.1f} ({min(values):.1f} to {max(values):.1f})' if len(values) > 1 else f'{mean:.1f}'
