"""What comes with the package next to its modules: configs, tools and the weights of the small networks.

In a checkout ``vptx/.mim`` links to the folders of these names; in an installed package it holds them. OpenMMLab's
tools look there: ``_base_ = 'vptx::mini/digits_vpt_deep.py'``, ``mim train vptx``.
"""

from difflib import get_close_matches
from pathlib import Path

__all__ = ['find_config', 'shipped']


def shipped(folder: str) -> Path:
    """``'configs'``, ``'tools'`` or ``'weights'``, as they were installed."""
    return Path(__file__).parent / '.mim' / folder


def find_config(name: str | Path) -> Path:
    """A config file, or one that comes with vptx: ``mini/digits_vpt_deep``, with ``.py`` and ``vptx::`` or without.

    Raises:
        FileNotFoundError: no such file or config; the names that are nearest.
    """
    path = Path(name)
    if path.is_file():
        return path
    asked = str(name).removeprefix('vptx::').removesuffix('.py')
    there = shipped('configs')
    own = there / f'{asked}.py'
    if own.is_file() and own.resolve().is_relative_to(there.resolve()):
        return own
    names = [found.relative_to(there).with_suffix('').as_posix() for found in there.glob('[!_]*/**/*.py')]
    near = get_close_matches(asked, names, 3, 0.5)
    if not near:
        leaves = get_close_matches(Path(asked).name, dict.fromkeys(map(_leaf, names)), 3, 0.5)
        near = [found for leaf in leaves for found in names if _leaf(found) == leaf]
    hint = f'; near to it are {", ".join(near)}' if near else ''
    raise FileNotFoundError(f'{name}: there is no such file, and no config of this name comes with vptx{hint}')


def _leaf(name: str) -> str:
    return name.rpartition('/')[2]
