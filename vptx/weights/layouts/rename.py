"""One way to rename tensors: patterns, in order."""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

__all__ = ['Rules', 'rename']

Rules = Sequence[tuple[str, str]]


def rename(tensors: Mapping[str, Tensor], rules: Rules) -> dict[str, Tensor]:
    """``tensors`` under new names: every rule (regular expression, replacement) is applied to every name, in order.

    Raises:
        ValueError: two tensors get the same name.
    """
    renamed: dict[str, Tensor] = {}
    for old, tensor in tensors.items():
        name = old
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise ValueError(f'two tensors of the file are {name}; one of them is called {old}')
        renamed[name] = tensor
    return renamed
