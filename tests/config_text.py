"""What a config costs, paid once: its text, for which a run asks seven times, and our files, which share their bases.

Both take longer than the training of a tiny network.
"""

import os
from copy import deepcopy
from functools import cache
from pathlib import Path

from mmengine.config import Config
from yapf.yapflib import yapf_api  # writes a cache when first imported: once, before workers do it side by side

OURS = str(Path(__file__).parents[1] / 'configs') + os.sep

_format = yapf_api.FormatCode
_read = Config._file2dict


@cache
def _formatted(text: str, style: tuple, options: tuple) -> tuple[str, bool]:
    return _format(text, style_config=dict(style), **dict(options))


def _remembered(text: str, style_config: dict, **options) -> tuple[str, bool]:
    return _formatted(text, tuple(style_config.items()), tuple(options.items()))


@cache
def _parsed(path: str, *options: bool | None) -> tuple[dict, str, dict]:
    return _read(path, *options)


def _read_once(
    filename: str | Path,
    use_predefined_variables: bool = True,
    use_environment_variables: bool = True,
    lazy_import: bool | None = None,
) -> tuple[dict, str, dict]:
    path = os.path.abspath(filename)
    read = _parsed if path.startswith(OURS) else _read
    return deepcopy(read(path, use_predefined_variables, use_environment_variables, lazy_import))


def lay_out_once() -> None:
    """In this process, and in those that it forks."""
    yapf_api.FormatCode = _remembered
    Config._file2dict = staticmethod(_read_once)
