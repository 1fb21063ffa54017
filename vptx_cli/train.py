"""Train a model as a config describes it:

vptx train mini/digits_vpt_deep
vptx train my_config.py --work-dir work_dirs/mine --resume
"""

import argparse

from vptx_cli.arguments import FEATURES_HELP, add_common_arguments, at_least_1, read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_common_arguments(parser)
    parser.add_argument('--resume', nargs='?', const='auto', help='go on from the last checkpoint, or from this one')
    parser.add_argument(
        '--new-settings',
        action='store_true',
        help="with --resume: optimizer and schedule as the config sets them, not as the checkpoint's run had them",
    )
    parser.add_argument('--amp', action='store_true', help='half precision: float16 on a GPU, bfloat16 on a CPU')
    parser.add_argument(
        '--total-batch-size',
        type=at_least_1,
        metavar='IMAGES',
        help='of all processes together, each of which takes its part: the schedule fits whatever their number is',
    )
    parser.add_argument('--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size')
    parser.add_argument('--no-validate', action='store_true', help='do not validate while training')
    parser.add_argument('--features', metavar='FOLDER', help=FEATURES_HELP + '; an error where something does')


def run(args: argparse.Namespace) -> None:
    from vptx.configs import make_runner

    make_runner(read(args)).train()
