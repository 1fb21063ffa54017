"""The command ``vptx``: its arguments, and what it calls.

A package of its own, because ``import vptx`` imports torch, which takes seconds: arguments are read, and help is
shown, without it. Each command is a module with ``add_arguments(parser)`` and ``run(args)``; ``run`` imports what it
needs.
"""

import argparse
from importlib import import_module
from types import ModuleType

__all__ = ['COMMANDS', 'command_parser', 'main']

#: Each is the module of its name, with ``_`` for ``-``; the first line of its docstring is the help.
COMMANDS = (
    'train',
    'train-many',
    'test',
    'predict',
    'experiment',
    'sweep',
    'continual',
    'report',
    'benchmark',
    'benchmark-text',
    'benchmark-bank',
    'benchmark-server',
    'zero-shot',
    'list',
    'export',
    'push',
    'serve',
    'doctor',
    'fetch-real',
    'export-pixels',
    'export-backbone',
    'make-mini-ade',
    'check-gpu',
    'cost',
)


def main(command: str | None = None) -> None:
    """Run the command line: ``vptx COMMAND ...``, or with ``command`` that one alone, as ``tools/*.py`` do."""
    if command is None:
        parser = argparse.ArgumentParser(prog='vptx', description='Adapt frozen vision backbones with prompts.')
        parser.add_argument('--version', action='store_true', help='print the version and leave')
        parts = parser.add_subparsers(metavar='COMMAND')
        for name in COMMANDS:
            text = _docstring(name).partition('\n')[0].rstrip(':.')
            _fill(parts.add_parser(name, help=text[0].lower() + text[1:], **_described(name)), name)
    else:
        parser = command_parser(command)
    _complete(parser)
    args = parser.parse_args()
    if vars(args).pop('version', False):
        from importlib.metadata import version

        print(f'vptx {version("vptx")}')
    elif 'run' in args:
        run = vars(args).pop('run')
        run(args)
    else:
        parser.print_help()


def command_parser(command: str) -> argparse.ArgumentParser:
    """What reads the arguments of one of ``COMMANDS``."""
    parser = argparse.ArgumentParser(**_described(command))
    parser.add_argument('--version', action='store_true', help=argparse.SUPPRESS)
    _fill(parser, command)
    return parser


def _module(name: str) -> ModuleType:
    return import_module(f'{__name__}.{name.replace("-", "_")}')


def _docstring(name: str) -> str:
    return str(_module(name).__doc__)


def _described(name: str) -> dict:
    return dict(description=_docstring(name), formatter_class=argparse.RawDescriptionHelpFormatter)


def _fill(parser: argparse.ArgumentParser, name: str) -> None:
    _module(name).add_arguments(parser)
    parser.set_defaults(run=_module(name).run)


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell's question for completions, if it asks one."""
    try:
        import argcomplete
    except ImportError:  # the command works without
        return
    argcomplete.autocomplete(parser)
