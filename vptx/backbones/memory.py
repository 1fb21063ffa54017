"""Attention to a memory beside one's own tokens, what door 3 is made of."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vptx.backbones.base import KeyValue

__all__ = ['attend', 'project']


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    memory: KeyValue,
    dropout: float = 0.0,
    bias: Tensor | None = None,
) -> Tensor:
    """Attention of (B, heads, M, d) to itself and to ``memory``, whose keys come first; softmax asks no order.

    -> (B, M, heads * d)

    Args:
        query, key, value: of the tokens, turned already by those who turn theirs.
        memory: its keys and values, (heads, P, d) or (B, heads, P, d).
        dropout: probability that a weight of attention is zeroed.
        bias: added to the scores: (heads, M, P+M).
    """
    batch = len(query)
    key = torch.cat([memory.key.expand(batch, -1, -1, -1), key], dim=2)
    value = torch.cat([memory.value.expand(batch, -1, -1, -1), value], dim=2)
    x = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
    return x.transpose(1, 2).flatten(2)


def project(x: Tensor, weight: Tensor, bias: Tensor | None, heads: int, first: int = 0) -> tuple[Tensor, ...]:
    """(..., n, D) -> query, key and value from number ``first`` on, each (..., heads, n, d).

    Args:
        x: normed tokens.
        weight: of the three projections, one above the other: (3 * heads * d, D).
        bias: (3 * heads * d), or None.
        heads: their number.
        first: 0 for all three, 1 for key and value alone.
    """
    rows = first * weight.shape[0] // 3
    x = F.linear(x, weight[rows:], None if bias is None else bias[rows:])
    # (..., n, parts * heads * d) -> (..., n, parts, heads, d) -> (parts, ..., heads, n, d)
    return x.unflatten(-1, (3 - first, heads, -1)).movedim(-4, -2).unbind(-4)
