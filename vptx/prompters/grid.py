"""Convolutions over the patches among tokens."""

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

__all__ = ['over_grid']


def over_grid(convolve: Callable[[Tensor], Tensor], tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """``convolve`` over the patches as one map, and over every other token as a map of its own.

    A token without a place (class token, register, prompt) meets the centre of a kernel alone.

    Args:
        convolve: (B, C, h, w) -> (B, C', h, w), of maps of any size.
        tokens: (B, M, C), patches last; fewer than those of the grid are no patches.
        grid: (H', W') of the patches.
    """
    count = prod(grid)
    alone = tokens.shape[1] - count if tokens.shape[1] >= count else tokens.shape[1]
    parts = []
    if alone:
        points = convolve(tokens[:, :alone].flatten(0, 1)[..., None, None])
        parts.append(points.flatten(1).unflatten(0, (tokens.shape[0], alone)))
    if alone < tokens.shape[1]:
        maps = convolve(tokens[:, alone:].transpose(1, 2).unflatten(2, grid))
        parts.append(maps.flatten(2).transpose(1, 2))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
