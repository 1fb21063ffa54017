"""Compare methods, nets and tasks: settings are selected on validation, then tested with several seeds.

vptx experiment configs/mini/digits_*.py --nets vit_mini_sup vit_mini_mae --jobs 2
vptx experiment configs/seg/mini_head.py configs/seg/mini_vpt.py --jobs 2
vptx experiment configs/vtab/vitb16_in21k_*.py --tasks cifar svhn dmlab
vptx experiment configs/vtab/vitb16_in21k_vpt_deep.py --tasks all

Finished runs are stored in --out, and are not repeated by the same command.
"""

import argparse
from pathlib import Path

from vptx_cli.arguments import add_study_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_study_arguments(parser)
    parser.add_argument('--jobs', type=int, default=1, help='runs side by side; threads are divided among them')
    parser.add_argument(
        '--share',
        type=share,
        metavar='I/N',
        help='run the studies I, I + N, I + 2 N, ... alone, counted from 0, as one of N jobs that share --out; the '
        'tables of these are in its folder share_I, those of all come from the same command without --share',
    )


def share(text: str) -> tuple[int, int]:
    """``'3/8'``: the fourth of eight shares."""
    index, _, number = text.partition('/')
    if not (index.isdecimal() and number.isdecimal() and int(index) < int(number)):
        raise argparse.ArgumentTypeError(f'must be I/N, with I from 0 to N - 1, not {text}')
    return int(index), int(number)


def run(args: argparse.Namespace) -> None:
    from vptx.configs import find_own_modules
    from vptx.studies.progress import Progress, reporter
    from vptx.studies.protocol import experiment, studies
    from vptx.studies.results import markdown

    settings = vars(args)
    jobs, quiet, own = settings.pop('jobs'), settings.pop('quiet'), settings.pop('share')
    find_own_modules()
    try:
        found, out = studies(**settings), Path(settings['out'])
        if own:
            found, out = found[own[0] :: own[1]], out / f'share_{own[0]}'
        outcomes = experiment(found, out, jobs, reporter(Progress(found), quiet))
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'\n{markdown(outcomes)}')
    if any(o.missing for o in outcomes):
        raise SystemExit('some runs failed, and are run again when this command is given again')
