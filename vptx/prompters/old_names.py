"""Prompters that were written for vptx 0.1, with the names and signatures of that version. The next release
removes this file.

A class that defines an old name gets the new one, which calls it; a base class answers to the old names too, so that
``super().enter(tokens, layer)`` works. Where an old method expects the number of a layer, it gets one that knows the
rest of ``At``, and that methods of a base class take in its place.
"""

import inspect
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

from vptx.geometry import At

__all__ = ['adapt', 'give_old_names']

#: Old names of methods that now take ``at``, and of all others.
LOCATED = dict(enter='before_layer', leave='after_layer')
OTHERS = dict(
    beside='at_end', brought='frozen_tensors', sees_the_end='needs_all_tokens', sees_the_image='needs_image_at_end'
)
#: Methods whose names have stayed, with the number of their arguments in the old form.
SAME_NAME = dict(memory=2, prompts=2, inside=3)


class Layer(int):
    """The number of a layer, with the attributes of ``at``."""

    at: At

    def __new__(cls, at: At) -> 'Layer':
        number = super().__new__(cls, -1 if at.layer is None else at.layer)
        number.at = at
        return number

    def __getattr__(self, name: str) -> Any:
        if name == 'at':
            raise AttributeError(name)
        return getattr(self.at, name)


def adapt(kind: type, base: type) -> None:
    """Give a class of prompters that uses old names or signatures the new ones, with one DeprecationWarning.

    Args:
        kind: the new class.
        base: of all prompters.
    """
    # By their order alone: a class that is still being made has no answer of its own to issubclass().
    parents = [parent for parent in kind.__bases__ if base in parent.__mro__]
    new = [part for part in kind.__mro__ if not any(part in parent.__mro__ for parent in parents)]
    own: dict[str, Any] = {}
    for part in reversed(new):
        own.update(vars(part))
    changes = []
    for old, name in {**LOCATED, **OTHERS}.items():
        if old in own and name not in own:
            setattr(kind, name, _locate(own[old]) if old in LOCATED else own[old])
            changes.append(f'{old} is {name} now')
    for name, number in SAME_NAME.items():
        if name in own and _is_old(own[name], number):
            setattr(kind, name, _locate(own[name]))
            changes.append(f'{name} takes at in the place of layer' if name != 'inside' else 'inside takes at, too')
    if changes:
        warnings.warn(
            f'{kind.__module__}.{kind.__name__} is a prompter for an older vptx, and works until the next release: '
            f'{"; ".join(changes)}. docs/write_a_prompter.md has the methods',
            DeprecationWarning,
            stacklevel=4,
        )
    give_old_names(kind)


def give_old_names(kind: type) -> None:
    """Let what ``kind`` defines itself be found by its old names, too."""
    for old, name in {**LOCATED, **OTHERS}.items():
        if name in vars(kind) and old not in vars(kind):
            setattr(kind, old, vars(kind)[name])


def _is_old(method: Callable, number: int) -> bool:
    """Whether a method has the old signature: arguments besides self, and the last of them called ``layer``."""
    names = [
        name
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return len(names) == number + 1 and (number == SAME_NAME['inside'] or names[-1] == 'layer')


def _locate(method: Callable) -> Callable:
    """A method that is given ``at`` last, from one that takes the number of a layer, or neither."""
    takes = len(inspect.signature(method).parameters) - 1

    @wraps(method)
    def located(self: Any, *arguments: Any) -> Any:
        *inputs, at = arguments
        return method(self, *inputs, *([Layer(at)] if takes > len(inputs) else []))

    return located
