"""The paper's experiment, side by side on this machine or on a Ray cluster, with the same command:

python tools/sweep.py configs/mini_vtab/*.py --tasks all
python tools/sweep.py configs/vtab/vitb16_in21k_vpt_deep.py --tasks all --gpus 0.25 --asha

What is finished is kept in --out, and found again when the same command is given again; tools/experiment.py, which
needs no Ray, finds it too.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction

from vptx.analysis.protocol import markdown, studies
from vptx.cli import FEATURES_HELP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+', help='config files')
    parser.add_argument('--nets', nargs='+', default=[None], help="in place of the configs' own, from _base_/nets")
    parser.add_argument('--tasks', nargs='+', default=[None], help="of the configs' suite, or all; else their own")
    parser.add_argument('--out', default='work_dirs/experiment', help='folder of the runs, which all machines see')
    parser.add_argument('--cpus', type=float, default=1, help='processors, and threads, of each run')
    parser.add_argument('--gpus', type=float, help='share of a GPU of each run, such as 0.25: prompts are small')
    parser.add_argument('--asha', action='store_true', help='stop runs of the selection that fall behind')
    parser.add_argument('--judge-every', type=int, help='epochs between two looks at validation with --asha')
    parser.add_argument('--address', help="of a Ray cluster; by default the one this machine is part of; 'local': none")
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, help='settings to override, as key.of.setting=value'
    )
    parser.add_argument('--features', metavar='FOLDER', help=FEATURES_HELP)
    args = parser.parse_args()
    sys.path.insert(0, str(Path.cwd()))  # so that custom_imports finds a module next to where the tool is run
    try:
        from vptx.analysis.sweep import connect, sweep

        found = studies(args.configs, args.out, args.tasks, args.cfg_options, args.features, args.nets)
    except (FileNotFoundError, ImportError, ValueError) as error:
        raise SystemExit(str(error)) from error
    connect(args.address)
    outcomes, failed = sweep(found, args.out, args.cpus, args.gpus, args.asha, args.judge_every)
    print(f'\n{markdown(outcomes)}')
    if failed:
        raise SystemExit(f'{len(failed)} runs failed, and are run again when this command is given again: {failed}')


if __name__ == '__main__':
    main()
