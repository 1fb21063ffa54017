"""Attention to a memory besides one's own tokens, what door 3 is made of.

The two are attended to apart and put together by what each weighs (FlashAttention's way with blocks of keys: Dao et
al., NeurIPS 2022, https://arxiv.org/abs/2205.14135):

    softmax(Q [K_P; K]^T) [V_P; V] = (1 - s) softmax(Q K^T) V + s softmax(Q K_P^T) V_P
    s = sigmoid(lse(Q K_P^T) - lse(Q K^T)),    lse the logarithm of the sum of exponentials

So no key and no value is copied, those of a memory serve all samples and windows as they are, and their gradients are
summed where they are made. The fused operators that tell these sums are used where they have all that is asked for
(``vptx.backbones.fused``). Elsewhere one attention sees the keys of the memory before the tokens' own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vptx.backbones.fused import may_fuse, transforms
from vptx.backbones.linear import linear
from vptx.geometry import EachMemory, KeyValue, MixedMemory

__all__ = [
    'KeyValue',
    'Memory',
    'SelfAttention',
    'Spelling',
    'attend',
    'attend_first',
    'each_ready',
    'for_each',
    'gather',
    'project',
    'same',
    'split_heads',
]

_attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_attention_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


#: What a layer attends to besides its own tokens.
Memory = Tensor | KeyValue | MixedMemory | EachMemory


def same(x: Tensor) -> Tensor:
    return x


class Attends(Protocol):
    """Attention of normed tokens to themselves and to a memory. M tokens, P prompts, d the width of a head."""

    def __call__(self, x: Tensor, memory: KeyValue | None) -> Tensor:
        """(B, M, D) -> (B, M, heads * d)"""

    def keys_values(self, x: Tensor) -> KeyValue:
        """(P, D) or (B, P, D) -> their keys and values."""

    def recall(self, x: Tensor, memory: KeyValue) -> Tensor:
        """Of tokens without positions, to the memory alone: (B, M, D) -> (B, M, heads * d)"""


@dataclass
class SelfAttention:
    """Attention of all tokens to all, as most transformers have it.

    Attributes:
        weight: of the projections onto queries, keys and values, one above the other: (3 * heads * d, D).
        bias: (3 * heads * d), or None.
        heads: their number.
        dropout: of the weights.
        norms: of queries and of keys.
        turn: gives queries and keys of the tokens (B, heads, M, d) their positions.
        scores: added to those of the tokens' own keys: (heads, M, M), or None.
    """

    weight: Tensor
    bias: Tensor | None
    heads: int
    dropout: float = 0.0
    norms: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] = (same, same)
    turn: Callable[[Tensor], Tensor] = same
    scores: Tensor | None = None

    def __call__(self, x: Tensor, memory: KeyValue | None) -> Tensor:
        query, key, value = project(x, self.weight, self.bias, self.heads)
        query, key = (self.turn(norm(part)) for norm, part in zip(self.norms, (query, key)))
        return attend(query, key, value, memory, self.dropout, self.scores)

    def keys_values(self, x: Tensor) -> KeyValue:
        key, value = project(x, self.weight, self.bias, self.heads, first=1)
        return KeyValue(self.norms[1](key), value)

    def recall(self, x: Tensor, memory: KeyValue) -> Tensor:
        rows = self.weight.shape[0] // 3
        query = linear(x, self.weight[:rows], None if self.bias is None else self.bias[:rows])
        return gather(self.norms[0](split_heads(query, self.heads, 1)[0]), memory)


class Spelling(NamedTuple):
    """A layer of a transformer, as far as one library's is another than the next one's.

    Attributes:
        norm: before attention, (..., M, D) -> (..., M, D).
        attention: of normed tokens.
        project: what attention gives, on its way to the shortcut: (B, M, heads * d) -> (B, M, D).
        feed: the second half of the layer, with its shortcut: (B, M, D) -> (B, M, D).
    """

    norm: Callable[[Tensor], Tensor]
    attention: Attends
    project: Callable[[Tensor], Tensor]
    feed: Callable[[Tensor], Tensor]

    def __call__(self, tokens: Tensor, memory: KeyValue | None, between: Callable[[Tensor], Tensor] = same) -> Tensor:
        """(B, M, D) -> (B, M, D), attending also to ``memory``; ``between`` acts before the second half."""
        return self.feed(between(tokens + self.project(self.attention(self.norm(tokens), memory))))


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    memory: KeyValue | None,
    dropout: float = 0.0,
    bias: Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention of (B, heads, M, d) to itself and to ``memory``; softmax asks no order. -> (B, M, heads * d)

    Args:
        query, key, value: of the tokens, rotated already where positions are rotated.
        memory: of all (heads, P, d), or (b, heads, P, d), each of which serves the next B / b of the batch; or None.
            Where some of it is hidden, one attention sees all keys.
        dropout: of the weights.
        bias: added to the scores of the tokens' own keys: (heads, M, M), or (B, heads, M, M). A memory has none.
        scale: of the scores; d ** -0.5 by default.
    """
    if bias is not None:
        bias = bias.to(query.dtype)  # in half precision, a table is as it was trained
        bias = bias if bias.dim() == 4 else bias[None]
    if memory is None:
        return _joined(_whole(query, key, value, bias, dropout, scale))
    # Folded, a memory is in the precision of the parameters, whatever autocast makes of tokens.
    parts = zip(memory[:2], (key, value), strict=True)
    seen = KeyValue(*((part if part.dim() == 4 else part[None]).to(own.dtype) for part, own in parts))
    inputs = (query, key, value, *seen[:2], bias, scale)
    if memory.hidden is not None or not _is_apart(query, key, value, seen, dropout, bias):
        return _joined(_together(*inputs, dropout=dropout, hidden=memory.hidden))
    if torch.is_grad_enabled() and any(part.requires_grad for part in (query, key, value, *seen[:2])):
        return _joined(_Apart.apply(*inputs))
    return _joined(_apart(*inputs)[0])


def gather(query: Tensor, memory: KeyValue, scale: float | None = None) -> Tensor:
    """Attention of (B, heads, M, d) to a memory alone, (heads, P, d) or (B, heads, P, d) -> (B, M, heads * d)"""
    key, value = (part.expand(query.shape[0], -1, -1, -1).to(query.dtype) for part in memory[:2])
    return _joined(_whole(query, key, value, None, 0.0, scale))


def _joined(heads: Tensor) -> Tensor:
    """(B, heads, M, d) -> (B, M, heads * d)"""
    return heads.transpose(1, 2).flatten(2)


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
        weight, bias, heads: as of ``project``.
        memory: as of ``attend``.
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
        memory = for_each(memory, x.shape[0])
        to_memory = query @ memory.key.transpose(-1, -2)
        if memory.hidden is not None:
            to_memory = to_memory.masked_fill(memory.hidden[:, None, None], -torch.inf)
        scores = torch.cat([to_memory, scores], dim=-1)
    weights = scores.softmax(-1).to(x.dtype)
    # Slices: of a split, torch's compiler computes the backward pass in place, and wrongly (torch 2.14).
    prompts = scores.shape[-1] - x.shape[1]
    remembered, own = weights[..., :prompts], weights[..., prompts:]
    out = torch.einsum('bhrc,hdc->bhrd', (own.flatten(1, 2) @ x).unflatten(1, (heads, rows)), to_value)
    if not no_bias:
        out = out + own.sum(-1, keepdim=True) * of_value
    if memory is not None:
        out = out + remembered @ memory.value
    return _joined(out)


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
    return split_heads(linear(x, weight[rows:], None if bias is None else bias[rows:]), heads, 3 - first)


def split_heads(x: Tensor, heads: int, parts: int = 3) -> tuple[Tensor, ...]:
    """(..., n, parts * heads * d) -> so many parts, each (..., heads, n, d)."""
    return x.unflatten(-1, (parts, heads, -1)).movedim(-4, -2).unbind(-4)


def _is_apart(query: Tensor, key: Tensor, value: Tensor, memory: KeyValue, dropout: float, bias: Tensor | None) -> bool:
    """Whether the fused attention that says how much its keys weigh, and accepts this, computes this."""
    if (
        query.device.type != 'cpu'
        or dropout > 0
        or not query.dtype == key.dtype == value.dtype == memory.key.dtype == memory.value.dtype
        or memory.key.numel() == 0
        or (bias is not None and bias.requires_grad)
    ):
        return False
    if torch.compiler.is_compiling():
        return not torch.compiler.is_exporting() and query.numel() > 0
    # Of all devices, whatever the name says; a compiler cannot ask.
    return torch.backends.cuda.flash_sdp_enabled() and may_fuse(query, key, value, *memory[:2])


def _together(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    memory_key: Tensor,
    memory_value: Tensor,
    bias: Tensor | None,
    scale: float | None,
    dropout: float = 0.0,
    attention: Callable[..., Tensor] | None = None,
    hidden: Tensor | None = None,
) -> Tensor:
    """The same in one: keys and values of the memory before each sample's."""
    own_keys = key.shape[2]
    key, value = (
        torch.cat([_for_each(part, own.shape[0]), own], dim=2)
        for part, own in ((memory_key, key), (memory_value, value))
    )
    if bias is not None:
        bias = F.pad(bias, (key.shape[2] - own_keys, 0))
    if hidden is not None:
        unseen = _for_each(torch.zeros_like(hidden, dtype=query.dtype).masked_fill(hidden, -torch.inf), query.shape[0])
        unseen = F.pad(unseen, (0, own_keys))[:, None, None]
        bias = unseen if bias is None else bias + unseen
    return (attention or _whole)(query, key, value, bias, dropout, scale)


def for_each(memory: KeyValue, batch: int) -> KeyValue:
    """A memory of all, or b memories, as (B, heads, P, d) of each of a batch; those of all stay as they are."""
    if memory.key.dim() == 3:
        return memory
    key, value, hidden = (None if part is None else _for_each(part, batch) for part in memory)
    assert key is not None and value is not None
    return KeyValue(key, value, hidden)


def _for_each(memory: Tensor, batch: int) -> Tensor:
    """(b, ...) -> (B, ...), each for the next B / b of the batch."""
    times = batch // memory.shape[0]
    if torch.compiler.is_exporting():  # a view asks how many there are, and the graph would be for that many
        return memory[:, None].repeat(1, times, *[1] * (memory.dim() - 1)).flatten(0, 1)
    return memory[:, None].expand(-1, times, *[-1] * (memory.dim() - 1)).flatten(0, 1)


def each_ready(parts: Sequence[KeyValue | None], counts: Sequence[int]) -> KeyValue | None:
    """Keys and values of runs of samples, as ``EachMemory`` has them, as one: of any lengths.

    Args:
        parts: of each run (heads, P, d), or (n, heads, P, d) of each of its samples, or None.
        counts: the samples n of each run.

    Returns:
        (b, heads, P, d) of the longest P; with what is hidden where they differ in length. None without any memory.
    """
    lengths = [0 if part is None else part.key.shape[-2] for part in parts]
    longest, first = max(lengths), next((part for part in parts if part is not None and part.key.shape[-2]), None)
    if first is None:
        return None
    if len(parts) == 1:
        return first
    shared = len(set(counts)) == 1 and all(part is None or part.key.dim() == 3 for part in parts)
    rows = [1] * len(parts) if shared else list(counts)

    def padded(index: int) -> Tensor:
        found = []
        for part, length, number in zip(parts, lengths, rows, strict=True):
            if part is None:
                found.append(
                    first[index].new_zeros(number, *first[index].shape[-3:-2], longest, first[index].shape[-1])
                )
                continue
            tensor = part[index] if part[index].dim() == 4 else part[index][None]
            tensor = tensor if length == longest else F.pad(tensor, (0, 0, 0, longest - length))
            found.append(tensor.expand(number, -1, -1, -1))
        return torch.cat(found)

    hidden = None
    if min(lengths) < longest:
        ends = torch.tensor(lengths, device=first.key.device).repeat_interleave(
            torch.tensor(rows, device=first.key.device)
        )
        hidden = torch.arange(longest, device=first.key.device) >= ends[:, None]
    return KeyValue(padded(0), padded(1), hidden)


def _whole(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float, scale: float | None
) -> Tensor:
    """(B, heads, M, d) -> (B, heads, M, d), by the library's attention, which some derivatives do not get through."""
    if not torch.compiler.is_compiling() and transforms(query, key, value):
        return _plainly(query, key, value, bias, dropout, scale)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout, scale=scale)


def _plainly(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, dropout: float, scale: float | None
) -> Tensor:
    """The same from operators that have every derivative."""
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.mT
    weights = (scores if bias is None else scores + bias).softmax(-1)
    return F.dropout(weights, dropout) @ value


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
    def backward(ctx: Any, grad: Tensor) -> tuple:
        query, key, value, memory_key, memory_value, bias, out, weight = ctx.saved_tensors
        if not torch.compiler.is_compiling() and (torch.is_grad_enabled() or not may_fuse(grad)):
            return _differentiate(ctx.needs_input_grad, grad, *ctx.saved_tensors[:6], ctx.scale)
        own = memory = (None,) * 3
        whole = [_gather(part, memory_key) for part in (grad, query, out, weight)]
        if any(ctx.needs_input_grad[i] for i in (0, 3, 4)):
            memory = _attention_backward(*whole[:2], memory_key, memory_value, *whole[2:], 0.0, False, scale=ctx.scale)
        # Before the first layer with prompts the tokens' own gradients are not needed.
        if any(ctx.needs_input_grad[:3]):
            own = _attention_backward(grad, query, key, value, out, weight, 0.0, False, attn_mask=bias, scale=ctx.scale)
            if ctx.needs_input_grad[0]:
                own = own[0] + _scatter(memory[0], query), *own[1:]
        return *own, *memory[1:], None, None


def _differentiate(needed: Sequence[bool], grad: Tensor, *inputs: Any) -> tuple:
    """The gradients as a function that can be differentiated in its turn."""
    *tensors, bias, scale = inputs
    with torch.enable_grad():
        tensors = [tensor if tensor.requires_grad else tensor.detach() for tensor in tensors]
        query, key, value, memory_key, memory_value = tensors
        out = _together(query, key, value, memory_key, memory_value, bias, scale, attention=_plainly)
    wanted = [tensor for tensor, need in zip(tensors, needed) if need]
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=torch.is_grad_enabled()))
    return *(next(found) if need else None for need in needed[:5]), None, None


def _gather(x: Tensor, memory: Tensor) -> Tensor:
    """(B, heads, M, ...) -> (b, heads, B / b * M, ...): what attends to each of b memories (b, heads, P, d). A view."""
    return x.unflatten(0, (memory.shape[0], -1)).transpose(1, 2).flatten(2, 3)


def _scatter(x: Tensor, like: Tensor) -> Tensor:
    """The inverse: (b, heads, B / b * M, ...) -> (B, heads, M, ...)."""
    return x.unflatten(2, (-1, like.shape[2])).transpose(1, 2).flatten(0, 1)
