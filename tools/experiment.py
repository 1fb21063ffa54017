"""The paper's experiment: a grid chosen on validation, then the test split over seeds:

python tools/experiment.py configs/vtab/vitb16_in21k_vpt_deep.py --tasks all
python tools/experiment.py configs/vtab/vitb16_in21k_*.py --tasks cifar svhn dmlab

What is finished is kept in --out, and found again when the same command is given again.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

from vptx.analysis.protocol import experiment, markdown, studies
from vptx.cli import FEATURES_HELP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument('--nets', nargs='+', default=[None], help="in place of the configs' own, from _base_/nets")
    parser.add_argument('--tasks', nargs='+', default=[None], help="of the configs' suite, or all; else their own")
    parser.add_argument('--out', default='work_dirs/experiment', help='folder of the runs')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, help='settings to override, as key.of.setting=value'
    )
    parser.add_argument('--features', metavar='FOLDER', help=FEATURES_HELP)
    args = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))  # so that custom_imports finds a module next to where the tool is run
    try:
        found = studies(args.configs, args.out, args.tasks, args.cfg_options, args.features, args.nets)
        print(f'\n{markdown(experiment(found, args.out))}')
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error


if __name__ == '__main__':
    main()
