"""Where names become classes.

Prompters, nets, text towers, label mappings and their pulls have registries of their own. Everything else that vptx
adds (hooks, datasets, optimizer wrapper constructors) goes into MMEngine's root registries, so that a stock config
finds it whatever its ``default_scope``.
"""

import re
import warnings
from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any

from mmengine.registry import (
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    TRANSFORMS,
    Registry,
)
from torch import nn

from vptx.arguments import check_names

__all__ = [
    'DATASETS',
    'HOOKS',
    'MAPPINGS',
    'METRICS',
    'MODELS',
    'NETS',
    'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS',
    'PROMPTERS',
    'PULLS',
    'TEXT_TOWERS',
    'TRANSFORMS',
    'build',
]

PROMPTERS = Registry('prompter', locations=['vptx.prompters'])
MAPPINGS = Registry('label mapping', locations=['vptx.mappings'])
PULLS = Registry('pull', locations=['vptx.mappings'])
NETS = Registry('net', locations=['vptx.backbones.families'])
TEXT_TOWERS = Registry('text tower', locations=['vptx.backbones'])


#: Types that configs name by what they were called; for one release.
OLD_TYPES = {'TimmConvNet': 'TimmClassifier'}


def build(registry: Registry, config: Any) -> Any:
    """Build what ``config`` describes, ``dict(type='Name' or a class, **arguments)``; a module or None is what it is.

    Raises:
        ValueError: no ``type``, or a name that is not registered (says which names are, nearest first).
        TypeError: neither a config nor a module (a name or a class alone, say); arguments that the class does not take.
    """
    if config is None or isinstance(config, nn.Module):
        return config
    if not isinstance(config, dict):
        name = config.__name__ if isinstance(config, type) else config
        hint = f': write dict(type={name!r})' if isinstance(name, str) else ''
        raise TypeError(f'a {registry.name} is described by dict(type=..., ...), not by {config!r}{hint}')
    arguments = dict(config)
    if 'type' not in arguments:
        raise ValueError(f'a {registry.name} is described by dict(type=..., ...), this has no type: {config}')
    kind = arguments.pop('type')
    if isinstance(kind, str):
        registry.import_from_location()
        if kind in OLD_TYPES:
            warnings.warn(f"type='{kind}' is '{OLD_TYPES[kind]}' now", DeprecationWarning, stacklevel=2)
            kind = OLD_TYPES[kind]
        found = registry.module_dict.get(kind.rpartition('.')[2])
        if found is None:
            known = sorted(registry.module_dict)
            near = _nearest(kind, known, registry.name)
            hint = f'; did you mean {near}?' if near else '.'
            raise ValueError(
                f"unknown {registry.name} '{kind}'{hint} Registered: {', '.join(known)}. One of your own is found "
                "once its module is imported: custom_imports=dict(imports=['my_module'])"
            )
        kind = found
    try:
        return kind(**arguments)
    except TypeError as error:
        if f'{kind.__name__} takes no argument' in str(error):
            raise
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if isinstance(kind, type) and unknown and unknown[1] in arguments:  # not of something built inside
            check_names(kind, [unknown[1]])
        raise TypeError(f'{kind.__name__}: {error}') from error


def _nearest(name: str, known: Iterable[str], what: str) -> str:
    """The registered name that is most like ``name``, whatever their case and whether they say ``what`` they are."""

    def spellings(text: str) -> tuple[str, str]:
        lower = text.lower()
        return lower, lower.removesuffix(what.split()[-1]) or lower

    def likeness(other: str) -> float:
        pairs = [SequenceMatcher(None, *pair).ratio() for pair in zip(spellings(name), spellings(other))]
        return max(pairs)

    best = max(known, key=likeness, default='')
    return best if best and likeness(best) >= 0.6 else ''
