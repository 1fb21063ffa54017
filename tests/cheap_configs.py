"""What a config costs, beside which training a tiny network is cheap: its layout, and bases that are read again."""

import os
from copy import deepcopy
from functools import cache
from pathlib import Path

from mmengine.config import Config
from yapf.yapflib import yapf_api  # writes a cache when first imported: once, before workers do it side by side

OURS = str(Path(__file__).parents[1] / 'configs') + os.sep

_read = Config._file2dict


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


def make_configs_cheap() -> None:
    """In this process, and in those that it forks: each file of ``configs/`` is read once, and the text of a config,
    for which MMEngine asks six times in a run, is not laid out; it means the same."""
    yapf_api.FormatCode = lambda text, **_: (text, True)
    Config._file2dict = staticmethod(_read_once)
