"""The same experiments, with many runs in parallel on this machine or on a Ray cluster:

vptx sweep configs/mini_vtab/*.py --tasks all
vptx sweep configs/vtab/vitb16_in21k_vpt_deep.py --tasks all --gpus 0.25 --asha

Finished runs are stored in --out, and are not repeated by the same command, nor by vptx experiment, which needs no
Ray.
"""

import argparse

from vptx_cli.arguments import add_study_arguments


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_study_arguments(parser)
    parser.add_argument('--cpus', type=float, default=1, help='processors, and threads, of each run')
    parser.add_argument('--gpus', type=float, help='share of a GPU of each run, such as 0.25: prompts are small')
    parser.add_argument('--asha', action='store_true', help='stop runs of the selection that fall behind')
    parser.add_argument('--judge-every', type=int, help='epochs between two looks at validation with --asha')
    parser.add_argument('--address', help="of a Ray cluster; by default the one this machine is part of; 'local': none")


def run(args: argparse.Namespace) -> None:
    from vptx.configs import find_own_modules
    from vptx.studies.progress import Progress, reporter
    from vptx.studies.protocol import studies
    from vptx.studies.results import markdown

    settings = vars(args)
    own = {name: settings.pop(name) for name in ('cpus', 'gpus', 'asha', 'judge_every')}
    address, quiet = settings.pop('address'), settings.pop('quiet')
    find_own_modules()
    try:
        from vptx.studies.sweep import connect, sweep

        found = studies(**settings)
        connect(address)
        outcomes, failed = sweep(found, settings['out'], say=reporter(Progress(found), quiet), **own)
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'\n{markdown(outcomes)}')
    if failed:
        raise SystemExit(f'{len(failed)} runs failed, and are run again when this command is given again: {failed}')
