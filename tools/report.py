"""Write a report of results, as in papers:

python tools/report.py work_dirs/experiment
python tools/report.py work_dirs/experiment --look mini_count mini_digits
python tools/report.py work_dirs/experiment work_dirs/others --out work_dirs/report --title 'Prompts and others'

Writes report.html, one file that contains its figures, and report.md with its figures next to it.
"""

import argparse
from pathlib import Path

from mmengine.utils import import_modules_from_strings

from vptx.cli.configs import find_own_modules
from vptx.studies.report import read, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', nargs='+', help='--out of tools/experiment.py or tools/sweep.py')
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
    args = parser.parse_args()
    find_own_modules()
    import_modules_from_strings(args.modules)
    out = Path(args.out or args.folders[0])
    try:
        write(read(args.folders), out, args.title, args.look, args.download)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    print(f'{out / "report.html"}\n{out / "report.md"}')


if __name__ == '__main__':
    main()
