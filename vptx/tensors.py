"""What tensors out of a file must be before a network computes with them: numbers, of the kind that it expects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ['check_layout', 'check_numbers']


def check_layout(tensors: Mapping[Any, Any], where: str | Path) -> None:
    """Make sure that ``tensors`` are named tensors whose values lie in memory one after the other.

    Raises:
        ValueError: begins with ``where``, and says which entry is none.
    """
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f'{where} holds {type(tensor).__name__} {name!r}; expected tensors by their names')
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested:
            raise ValueError(f'{where} holds {name} as {_kind(tensor)}; expected a dense tensor of plain numbers')


def check_numbers(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], where: str | Path) -> None:
    """Make sure that ``tensors`` can take the place of those of the same names in ``like``; shapes are not looked at.

    Raises:
        ValueError: begins with ``where``, and names a tensor of numbers of another kind (complex, whole or true and
            false in place of fractions), or with values that are not finite in the type that is expected.
    """
    check_layout(tensors, where)
    for name, tensor in tensors.items():
        expected = like[name].dtype
        if _family(tensor.dtype) != _family(expected):
            raise ValueError(f'{where} holds {name} as {_short(tensor.dtype)}; expected {_short(expected)}')
        # In the type that the network takes them over as: a number may be too large for it.
        if tensor.is_floating_point() and not tensor.to(expected).isfinite().all():
            raise ValueError(
                f'{where} holds values of {name} that are NaN, infinite or beyond {_short(expected)}; expected finite '
                'numbers'
            )


def _family(dtype: torch.dtype) -> str:
    if dtype.is_complex or dtype == torch.bool:
        return _short(dtype)
    return 'float' if dtype.is_floating_point else 'int'


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')


def _kind(value: Tensor) -> str:
    unusual = dict(sparse=value.layout != torch.strided, quantized=value.is_quantized, meta=value.is_meta)
    return f'a {next((name for name, found in unusual.items() if found), "nested")} tensor'
