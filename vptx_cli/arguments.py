"""Command line arguments of the tools, with the names that mmpretrain's users know."""

import argparse
from typing import TYPE_CHECKING, Any

from vptx_cli.configs import complete_configs

__all__ = [
    'FEATURES_HELP',
    'NET_HELP',
    'Options',
    'add_common_arguments',
    'add_config_arguments',
    'add_study_arguments',
    'at_least_1',
    'read',
]

if TYPE_CHECKING:
    from mmengine.config import Config

CONFIG_HELP = 'a config file, or the name of one that comes with vptx, such as mini/digits_vpt_deep'

NET_HELP = "a net in place of the config's own, by the name of its file in _base_/nets, such as vit_b16_mae"

FEATURES_HELP = 'keep here what a frozen network makes of the images, for all runs to read, where nothing trains in it'


def at_least_1(text: str) -> int:
    """A whole number of at least 1, as the type of an argument."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, not {text}')
    return number


class Options(argparse.Action):
    """``--cfg-options``: MMEngine's reading of ``key=value``, with a usage error for what it cannot read."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from mmengine.config import DictAction  # which imports torch

        read = DictAction(self.option_strings, self.dest)
        for value in values or ():
            name, equals, text = value.partition('=')
            reason = ''
            if not name or not equals:
                reason = 'it is no key.of.setting=value'
            elif text.lstrip('[(').startswith(('dict(', '{')):
                reason = (
                    'a value is a number, a word, or a list or tuple of them, no dict. Set its parts by their paths, '
                    f'as {name}.key=value or {name}.0.key=value, or write it into a config'
                )
            else:
                try:
                    read(parser, namespace, [value], option_string)
                except (AssertionError, RecursionError) as error:  # of brackets that do not match
                    reason = str(error) or type(error).__name__
            if reason:
                raise argparse.ArgumentError(self, f'cannot take {value!r}: {reason}')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every tool that reads one config."""
    complete_configs(parser.add_argument('config', help=CONFIG_HELP))
    parser.add_argument('--net', help=NET_HELP)
    parser.add_argument(
        '--cfg-options', nargs='+', action=Options, default={}, help='settings to override, as key.of.setting=value'
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every tool that runs a config."""
    add_config_arguments(parser)
    parser.add_argument(
        '--work-dir', help='where logs and checkpoints go; by default work_dirs/<name of the config>[_<net>]'
    )
    parser.add_argument(
        '--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none', help='of the processes of this run'
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of tools that run many configs: ``studies``' own, by their names."""
    complete_configs(parser.add_argument('configs', nargs='+', help=CONFIG_HELP + ', or several'))
    parser.add_argument('--nets', nargs='+', default=[None], help="in place of the configs' own, from _base_/nets")
    parser.add_argument('--tasks', nargs='+', default=[None], help="of the configs' suite, or all; else their own")
    parser.add_argument(
        '--factors',
        nargs='+',
        type=float,
        help='of the learning rate of configs without a grid, these and no others; else 0.3, 1, 3, and more while the '
        'best is at an end',
    )
    parser.add_argument(
        '--seeds', nargs='+', type=int, help="of the runs on the test split; else the config's, or 42 43 44"
    )
    parser.add_argument('--out', default='work_dirs/experiment', help='folder of the runs; finished ones are kept')
    parser.add_argument(
        '--cfg-options',
        dest='options',
        nargs='+',
        action=Options,
        default={},
        help='settings to override in all, as key.of.setting=value',
    )
    parser.add_argument('--features', metavar='FOLDER', help=FEATURES_HELP)
    parser.add_argument('--quiet', action='store_true', help='print the table at the end, and what failed')


def read(args: argparse.Namespace) -> 'Config':
    """The config that the arguments describe (``vptx.configs.load_config``); what is wrong with them ends the
    command with the error alone."""
    from vptx.configs import load_config

    try:
        return load_config(args)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'{type(error).__name__}: {error}') from error
