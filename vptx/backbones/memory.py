"""Attention to a memory beside one's own tokens, what door 3 is made of.

The two are attended to apart and put together by what each weighs (FlashAttention's way with blocks of keys: Dao et
al., NeurIPS 2022, https://arxiv.org/abs/2205.14135):

    softmax(Q [K_P; K]^T) [V_P; V] = (1 - s) softmax(Q K^T) V + s softmax(Q K_P^T) V_P
    s = sigmoid(lse(Q K_P^T) - lse(Q K^T)),    lse the logarithm of the sum of exponentials

So no key and no value is copied, those of a memory serve all samples and windows as they are, and their gradients are
summed where they are made.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from vptx.backbones.base import KeyValue
from vptx.backbones.linear import linear

__all__ = ['attend', 'attend_first', 'project']

_attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_attention_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    memory: KeyValue,
    dropout: float = 0.0,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention of (B, heads, M, d) to itself and to ``memory``; softmax asks no order. -> (B, M, heads * d)

    Args:
        query, key, value: of the tokens, turned already by those who turn theirs.
        memory: of all (heads, P, d), or (b, heads, P, d), each of which serves the next B / b of the batch.
        dropout: of the weights.
        bias: added to the scores of the tokens' own keys: (heads, M, M), or (B, heads, M, M). A memory has none.
        scale: of the scores; d ** -0.5 by default.
    """
    # Folded, a memory is in the precision of the parameters, whatever autocast makes of tokens.
    parts = zip(memory, (key, value), strict=True)
    seen = KeyValue(*((part if part.dim() == 4 else part[None]).to(own.dtype) for part, own in parts))
    if bias is not None:
        bias = bias.to(query.dtype)  # in half precision, a table is as it was trained
        bias = bias if bias.dim() == 4 else bias[None]
    inputs = (query, key, value, *seen, bias, scale)
    if not _is_apart(query, seen, dropout, bias):
        out = _together(query, key, value, seen, dropout, bias, scale)
    elif torch.is_grad_enabled() and any(part.requires_grad for part in (query, key, value, *seen)):
        out = _Apart.apply(*inputs)
    else:
        out = _apart(*inputs)[0]
    return out.transpose(1, 2).flatten(2)


def attend_first(
    x: Tensor, rows: int, weight: Tensor, bias: Tensor | None, heads: int, memory: KeyValue | None
) -> Tensor:
    """Attention of the first ``rows`` of (B, M, D) to all of it and to ``memory``. -> (B, rows, heads * d)

    No key or value of a token is made: for a few queries it is less work to take the projections to them,

        q^T (W_k x_n + b_k) = (W_k^T q)^T x_n + q^T b_k
        sum_n a_n (W_v x_n + b_v) = W_v (sum_n a_n x_n) + b_v sum_n a_n

    Args:
        x: normed tokens.
        rows: fewer than d, or it is more work.
        weight, bias, heads: as of :func:`project`.
        memory: keys and values (heads, P, d) or (B, heads, P, d), or None.
    """
    to_query, to_key, to_value = weight.unflatten(0, (3, heads, -1))  # (heads, d, D)
    no_bias = bias is None
    of_query, of_key, of_value = (None,) * 3 if no_bias else bias.unflatten(0, (3, heads, 1, -1))  # (heads, 1, d)
    query = F.linear(x[:, :rows], to_query.flatten(0, 1), None if no_bias else of_query.flatten())
    query = query.unflatten(2, (heads, -1)).transpose(1, 2)
    query = query * query.shape[-1] ** -0.5
    # einsum takes a weight as it is, where matmul would copy it for every sample.
    scores = torch.einsum('bhrd,hdc->bhrc', query, to_key).flatten(1, 2) @ x.transpose(1, 2)
    scores = scores.unflatten(1, (heads, rows))
    if not no_bias:
        scores = scores + (query * of_key).sum(-1, keepdim=True)
    if memory is not None:
        scores = torch.cat([query @ memory.key.transpose(-1, -2), scores], dim=-1)
    weights = scores.softmax(-1).to(x.dtype)
    remembered, own = weights.split([scores.shape[-1] - x.shape[1], x.shape[1]], dim=-1)
    out = torch.einsum('bhrc,hdc->bhrd', (own.flatten(1, 2) @ x).unflatten(1, (heads, rows)), to_value)
    if not no_bias:
        out = out + own.sum(-1, keepdim=True) * of_value
    if memory is not None:
        out = out + remembered @ memory.value
    return out.transpose(1, 2).flatten(2)


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
    x = linear(x, weight[rows:], None if bias is None else bias[rows:])
    # (..., n, parts * heads * d) -> (..., n, parts, heads, d) -> (parts, ..., heads, n, d)
    return x.unflatten(-1, (3 - first, heads, -1)).movedim(-4, -2).unbind(-4)


def _is_apart(query: Tensor, memory: KeyValue, dropout: float, bias: Tensor | None) -> bool:
    """Whether the fused attention that says how much its keys weigh, and can be told, computes this."""
    return (
        query.device.type == 'cpu'
        # Of all devices, whatever its name says; a compiler cannot ask.
        and (torch.compiler.is_compiling() or torch.backends.cuda.flash_sdp_enabled())
        and dropout == 0
        and query.dtype == memory.key.dtype == memory.value.dtype
        and memory.key.shape[2] > 0
        and not (bias is not None and bias.requires_grad)
    )


def _together(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    memory: KeyValue,
    dropout: float,
    bias: Tensor | None,
    scale: float | None,
) -> Tensor:
    """The same in one: keys and values of the memory in front of each sample's."""
    share = len(query) // len(memory.key)
    key, value = (
        torch.cat([part[:, None].expand(-1, share, -1, -1, -1).flatten(0, 1), own], dim=2)
        for part, own in zip(memory, (key, value), strict=True)
    )
    if bias is not None:
        bias = F.pad(bias, (key.shape[2] - bias.shape[-1], 0))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout, scale=scale)


def _apart(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    memory_key: Tensor,
    memory_value: Tensor,
    bias: Tensor | None,
    scale: float | None,
) -> tuple[Tensor, Tensor]:
    """What each query gets (B, heads, M, d), and the logarithm of the sum of its exponentials (B, heads, M)."""
    own, own_weight = _attention(query, key, value, attn_mask=bias, scale=scale)
    gathered, weight = _attention(_gather(query, memory_key), memory_key, memory_value, scale=scale)
    gathered, weight = _scatter(gathered, query), _scatter(weight, query)
    share = torch.sigmoid(weight - own_weight)[..., None]
    return torch.lerp(own, gathered, share.to(own.dtype)), torch.logaddexp(own_weight, weight)


class _Apart(torch.autograd.Function):
    """Either backward pass needs only its own keys, and of the whole the outputs and the sums of exponentials."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> Tensor:
        out, weight = _apart(*inputs)
        *tensors, ctx.scale = inputs
        ctx.save_for_backward(*tensors, out, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        query, key, value, memory_key, memory_value, bias, out, weight = ctx.saved_tensors
        own = memory = (None,) * 3
        whole = [_gather(part, memory_key) for part in (grad, query, out, weight)]
        if any(ctx.needs_input_grad[i] for i in (0, 3, 4)):
            memory = _attention_backward(*whole[:2], memory_key, memory_value, *whole[2:], 0.0, False, scale=ctx.scale)
        # In front of the first layer with prompts nobody asks for the tokens' own gradients.
        if any(ctx.needs_input_grad[:3]):
            own = _attention_backward(grad, query, key, value, out, weight, 0.0, False, attn_mask=bias, scale=ctx.scale)
            if ctx.needs_input_grad[0]:
                own = own[0] + _scatter(memory[0], query), *own[1:]
        return *own, *memory[1:], None, None


def _gather(x: Tensor, memory: Tensor) -> Tensor:
    """(B, heads, M, ...) -> (b, heads, B / b * M, ...): what attends to each of b memories (b, heads, P, d). A view."""
    return x.unflatten(0, (len(memory), -1)).transpose(1, 2).flatten(2, 3)


def _scatter(x: Tensor, like: Tensor) -> Tensor:
    """The way back: (b, heads, B / b * M, ...) -> (B, heads, M, ...)."""
    return x.unflatten(2, (-1, like.shape[2])).transpose(1, 2).flatten(0, 1)
