"""The command ``vptx``: its arguments, and what it calls.

A package of its own, because ``import vptx`` imports torch, which takes seconds: arguments are read, and help is
shown, without it. Each command is a module with ``add_arguments(parser)`` and ``run(args)``; ``run`` imports what it
needs.
"""

import argparse
from importlib import import_module

__all__ = ['COMMANDS', 'main']

#: Modules of this package, by the name of their command; the first line of their docstring is the help.
COMMANDS = {
    'train': 'train',
    'test': 'test',
    'predict': 'predict',
    'experiment': 'experiment',
    'sweep': 'sweep',
    'report': 'report',
    'benchmark': 'benchmark',
    'benchmark-text': 'benchmark_text',
    'zero-shot': 'zero_shot',
    'list': 'list',
    'export': 'export',
    'doctor': 'doctor',
    'export-pixels': 'export_pixels',
    'export-backbone': 'export_backbone',
    'make-mini-ade': 'make_mini_ade',
    'check-gpu': 'check_gpu',
}


def main(command: str | None = None) -> None:
    """Run the command line: ``vptx COMMAND ...``, or with ``command`` that one alone, as ``tools/*.py`` do."""
    if command is None:
        parser = argparse.ArgumentParser(prog='vptx', description='Adapt frozen vision backbones with prompts.')
        parser.add_argument('--version', action='store_true', help='print the version and leave')
        parts = parser.add_subparsers(metavar='COMMAND')
        for name, module in COMMANDS.items():
            text = _docstring(module).partition('\n')[0].rstrip(':.')
            _fill(parts.add_parser(name, help=text[0].lower() + text[1:], **_described(module)), module)
    else:
        parser = argparse.ArgumentParser(**_described(COMMANDS[command]))
        parser.add_argument('--version', action='store_true', help=argparse.SUPPRESS)
        _fill(parser, COMMANDS[command])
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


def _docstring(module: str) -> str:
    return str(import_module(f'{__name__}.{module}').__doc__)


def _described(module: str) -> dict:
    return dict(description=_docstring(module), formatter_class=argparse.RawDescriptionHelpFormatter)


def _fill(parser: argparse.ArgumentParser, module: str) -> None:
    found = import_module(f'{__name__}.{module}')
    found.add_arguments(parser)
    parser.set_defaults(run=found.run)


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell's question for completions, if it asks one."""
    try:
        import argcomplete
    except ImportError:  # the command works without
        return
    argcomplete.autocomplete(parser)
