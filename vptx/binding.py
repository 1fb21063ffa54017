"""Bind what is learnt to a network. What is bound already keeps what it has learnt, as long as the network fits.

Prompters and label mappings allocate their parameters when they are bound (``bind(*shapes)``). ``bind`` decides
whether that is to happen again. What is attached to one model cannot be attached to another at the same time.
"""

import gc
from collections.abc import Hashable
from copy import deepcopy
from typing import Any
from weakref import WeakKeyDictionary, ref

from torch import nn

__all__ = ['bind', 'check_free', 'hold', 'release']

#: Of each module that is attached: the network that has it.
_holders: WeakKeyDictionary[nn.Module, ref[nn.Module]] = WeakKeyDictionary()


def bind(part: Any, *shapes: Hashable, exact: bool = False) -> None:
    """``part.bind(*shapes)``, unless it is bound to those already; to others, it keeps its parameters if they fit.

    Args:
        part: a prompter or a label mapping.
        *shapes: arguments of its ``bind``; the first one is a geometry or a number of classes.
        exact: whether what was learnt has a meaning for no other shapes, even if it fits.

    Raises:
        ValueError: what it has learnt does not fit this network; it is left as it was.
    """
    known = getattr(part, 'bound_to', None)
    if known == shapes:
        return
    if known is None:
        part.bind(*shapes)
    else:
        trial, learnt = deepcopy(part), deepcopy(part.state_dict())
        trial.bind(*shapes)
        had, needs = ({name: tuple(t.shape) for name, t in state.items()} for state in (learnt, trial.state_dict()))
        if exact or had != needs:
            differs = next((name for name in (*had, *needs) if had.get(name) != needs.get(name)), None)
            sizes = (
                f': {differs} is {had.get(differs, "absent")}, not {needs.get(differs, "absent")}' if differs else ''
            )
            raise ValueError(
                f'this {type(part).__name__} is bound to {_say(known)} and does not fit {_say(shapes)}{sizes}. Make a '
                'new one'
            )
        part.bind(*shapes)
        part.load_state_dict(learnt)
    part.bound_to = shapes


def _say(shapes: tuple) -> str:
    return getattr(shapes[0], 'name', f'{shapes[0]} classes')


def check_free(part: nn.Module, holder: nn.Module) -> None:
    """Refuse what is attached to another network than ``holder``, or has a part that is.

    Raises:
        ValueError: says what to do.
    """
    if any(_is_held(module, holder) for module in part.modules()):
        gc.collect()  # the other network may be gone
    for module in part.modules():
        if _is_held(module, holder):
            raise ValueError(
                f'this {type(module).__name__} is attached to another model: vptx.detach that one first, or give this '
                'one a new one or a copy (copy.deepcopy)'
            )


def hold(part: nn.Module, holder: nn.Module) -> None:
    """Note that ``part``, and what it is made of, is attached to ``holder``."""
    for module in part.modules():
        _holders[module] = ref(holder)


def release(part: nn.Module) -> None:
    """Undo ``hold``."""
    for module in part.modules():
        _holders.pop(module, None)


def _is_held(part: nn.Module, by_others_than: nn.Module) -> bool:
    holder = _holders.get(part, lambda: None)()
    return holder is not None and holder is not by_others_than
