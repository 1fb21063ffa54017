"""The configs that come with vptx, by name: ``mini/digits_vpt_deep`` is ``configs/mini/digits_vpt_deep.py``."""

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ['complete_configs', 'config_names', 'prompter_names', 'shipped']


def shipped(folder: str) -> Path:
    """As ``vptx.shipped.shipped``, without an import of vptx."""
    spec = find_spec('vptx')
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / '.mim' / folder


def config_names(prefix: str = '', **_: Any) -> list[str]:
    """The names of all that a command can run; argcomplete asks for those that begin with ``prefix``."""
    folder = shipped('configs')
    paths = (path.relative_to(folder).with_suffix('') for path in folder.glob('[!_]*/**/*.py'))
    return sorted(path.as_posix() for path in paths if path.as_posix().startswith(prefix))


def prompter_names() -> list[str]:
    """The methods of ``configs/_base_/prompters``."""
    return sorted(path.stem for path in (shipped('configs') / '_base_' / 'prompters').glob('*.py'))


def complete_configs(action: argparse.Action) -> None:
    """Let the shell complete the names of configs, next to those of files."""
    try:
        from argcomplete.completers import FilesCompleter
    except ImportError:
        return
    files = FilesCompleter(['py'])
    action.completer = lambda prefix, **said: [*config_names(prefix), *files(prefix, **said)]  # type: ignore[attr-defined]
