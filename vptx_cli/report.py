"""Write a report of results, as in papers:

vptx report work_dirs/experiment
vptx report work_dirs/experiment --look mini_count mini_digits
vptx report work_dirs/experiment work_dirs/others --out work_dirs/report --title 'Prompts and others'

Writes report.html, one file that contains its figures, and report.md with its figures next to it.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folders', nargs='+', help='--out of vptx experiment or vptx sweep')
    parser.add_argument('--out', help='folder of the report; by default the first one')
    parser.add_argument('--title', default='Report')
    parser.add_argument(
        '--look',
        nargs='+',
        default=[],
        metavar='TASK',
        help='draw class tokens of all methods on these tasks by t-SNE, and what they attend to',
    )
    parser.add_argument(
        '--against',
        nargs='+',
        metavar='METHOD',
        help='compare the others to these, named as their config or variant; else to vpt_deep and lora',
    )
    parser.add_argument(
        '--import',
        dest='modules',
        nargs='+',
        default=[],
        metavar='MODULE',
        help='of your own, which register what --look needs',
    )
    parser.add_argument(
        '--download',
        action='store_true',
        help='let --look download weights that timm publishes; without it they must be in the cache',
    )


def run(args: argparse.Namespace) -> None:
    from mmengine.utils import import_modules_from_strings

    from vptx.configs import find_own_modules
    from vptx.studies.report import AGAINST, read, write

    find_own_modules()
    import_modules_from_strings(args.modules)
    out = Path(args.out or args.folders[0])
    try:
        write(read(args.folders), out, args.title, args.look, args.download, args.against or AGAINST)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'{out / "report.html"}\n{out / "report.md"}')
