"""Whether an optimizer and its schedules can go on from the state that a file holds."""

from collections.abc import Mapping
from copy import deepcopy
from math import isfinite, isnan
from pathlib import Path
from reprlib import repr as short
from typing import Any

import torch
from torch.optim import Optimizer

__all__ = ['check_optimizer', 'check_schedule', 'keeps_state']


def check_optimizer(optimizer: Optimizer, state: Mapping[str, Any], where: str | Path) -> None:
    """Make sure that ``optimizer`` can go on from ``state``, of an optimizer of its kind; it is left as it was.

    Settings are compared with its own. The rest shows in one step, without gradients, of a copy, if the optimizer is
    one of PyTorch's.

    Raises:
        ValueError: begins with ``where``, and says which setting is no such number, or what went wrong.
    """
    for own, found in zip(optimizer.param_groups, state['param_groups'], strict=False):
        _check_settings({k: v for k, v in own.items() if k != 'params'}, found, f'{where} cannot be resumed from:')
    try:
        _try(optimizer, state)
    except Exception as error:  # whatever an optimizer makes of numbers that are none
        kind = type(optimizer).__name__
        raise ValueError(
            f'{where} cannot be resumed from: {kind} cannot go on from its state, a part of which is missing or of '
            f'another shape or type ({type(error).__name__})'
        ) from error


def keeps_state(optimizer: Optimizer) -> bool:
    """Whether ``optimizer`` has more than settings once it has made a step, as far as that can be tried."""
    return bool(_try(optimizer, None).state)


def _try(optimizer: Optimizer, state: Mapping[str, Any] | None) -> Optimizer:
    """A copy that has made a step, from ``state``; one of others than PyTorch is not copied, and makes none."""
    if not type(optimizer).__module__.startswith('torch.'):
        return optimizer
    trial = deepcopy(optimizer)
    for group in trial.param_groups:
        for parameter in group['params']:
            parameter.grad = torch.zeros_like(parameter)
    if state is not None:
        trial.load_state_dict(deepcopy(dict(state)))  # which it would share else, and change
    trial.step()
    return trial


def check_schedule(scheduler: Any, state: Any, where: str | Path) -> None:
    """Make sure that a scheduler of MMEngine can go on from ``state``, of one of its kind.

    Raises:
        ValueError: begins with ``where``, and says what is no such number.
    """
    prefix = f'{where} cannot be resumed from: of {type(scheduler).__name__},'
    own = {k: v for k, v in scheduler.state_dict().items() if not callable(v)}
    if not isinstance(state, Mapping) or 'last_step' not in state:
        raise ValueError(f'{prefix} there is no last_step')
    _check_settings(own, state, prefix)


def _check_settings(own: Mapping[str, Any], found: Mapping[str, Any], prefix: str) -> None:
    for name, value in own.items():
        if name not in found:
            continue
        least = -1 if name == 'last_step' else 0  # -1: of a schedule that has not begun
        below = name in ('lr', 'initial_lr', 'last_step') and _is_number(found[name]) and found[name] < least
        if below or not _is_alike(found[name], value, name == 'best'):
            raise ValueError(f'{prefix} {name} is {short(found[name])}, expected such as {short(value)}')


def _is_alike(found: Any, own: Any, unbounded: bool) -> bool:
    """Whether it can stand in the place of ``own``: finite numbers for numbers, as many."""
    if isinstance(own, (list, tuple)):
        same = isinstance(found, (list, tuple)) and len(found) == len(own)
        return same and all(_is_alike(a, b, unbounded) for a, b in zip(found, own))
    if _is_number(own):
        return _is_number(found) and (isfinite(found) or (unbounded and not isnan(found)))
    return own is None or found is None or isinstance(found, type(own))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))
