"""Compare methods and nets, learning rates chosen on validation:

python tools/compare.py configs/mini/digits_*.py --jobs 2
python tools/compare.py configs/mini/*.py --jobs 2 --nets vit_mini_sup vit_mini_mae vit_mini_mocov3 vit_mini_random
python tools/compare.py configs/seg/mini_head.py configs/seg/mini_vpt.py --jobs 2 --out work_dirs/compare_seg

Prints a Markdown table; leaves it in --out as table.md, table.json and table.png.
"""

import argparse

from mmengine.config import DictAction

from vptx.analysis.compare import compare
from vptx.analysis.results import markdown
from vptx.cli import FEATURES_HELP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument('--nets', nargs='+', default=[None], help="in place of each config's own, from _base_/nets")
    parser.add_argument('--factors', nargs='+', type=float, default=[0.3, 1, 3], help="of each config's learning rate")
    parser.add_argument('--seeds', nargs='+', type=int, default=[42, 43, 44], help='of the runs on the test split')
    parser.add_argument('--jobs', type=int, default=1, help='runs side by side; threads are divided among them')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='settings to override in all')
    parser.add_argument('--out', default='work_dirs/compare', help='folder of the runs; finished ones are kept')
    parser.add_argument('--features', metavar='FOLDER', help=FEATURES_HELP)
    args = parser.parse_args()
    rows = compare(
        args.configs, args.factors, args.seeds, args.out, args.nets, args.jobs, args.cfg_options, args.features
    )
    print(f'\n{markdown(rows)}')
    if any(row.failed for row in rows):
        raise SystemExit(1)


if __name__ == '__main__':
    main()
