"""Attention within windows (Liu et al., "Swin Transformer", ICCV 2021, https://arxiv.org/abs/2103.14030; "Swin
Transformer V2", CVPR 2022, https://arxiv.org/abs/2111.09883), with prompts in every window.

A prompt has no position: no relative position bias, and no shift keeps a window's tokens from it. So the tokens of all
windows attend to the same keys and values of the prompts, computed once,

    Y_w = softmax([Q_w K_P^T, Q_w K_w^T + bias + mask_w]) [V_P; V_w]          for each window w,

and a prompt whose own output is read gets the average of what it is given in the windows of its image:

    Y_P = 1 / nW * sum_w softmax([Q_P K_P^T, Q_P K_w^T]) [V_P; V_w].

timm, mmpretrain and mmseg call the parts of an attention module alike, so what is here serves all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.backbones.memory import KeyValue, attend, for_each, gather, project, split_heads
from vptx.backbones.spelling import stand_in

__all__ = ['Parts', 'WindowAttention', 'Windows', 'call', 'halved', 'merge']


class Windows(NamedTuple):
    """How a layer cuts its feature map into windows.

    Attributes:
        size: (h, w) of a window; A = h * w.
        shift: how far the map is rolled up and to the left before it is cut, and back after.
        pad_first: whether what a map lacks to whole windows is added before it is rolled (OpenMMLab) or after (timm).
    """

    size: tuple[int, int]
    shift: tuple[int, int]
    pad_first: bool

    def cut(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, nW, A, C)"""
        steps = [self._pad, self._roll] if self.pad_first else [self._roll, self._pad]
        for step in steps:
            x = step(x)
        (rows, columns), (h, w) = self._counts(x.shape[1:3]), self.size
        return x.unflatten(1, (rows, h)).unflatten(3, (columns, w)).transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def join(self, windows: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, nW, A, C) -> (B, H, W, C), for (H, W) = ``grid``"""
        x = windows.unflatten(1, self._counts(grid)).unflatten(3, self.size).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if self.pad_first:
            return self._roll(x, back=True)[:, : grid[0], : grid[1]]
        return self._roll(x[:, : grid[0], : grid[1]], back=True)

    def mask(self, grid: tuple[int, int], like: Tensor) -> Tensor | None:
        """(nW, A, A): -100 between tokens of a window that only the shift has made neighbours; None without shift."""
        if not any(self.shift):
            return None
        sides = []
        for count, size, shift in zip(self._counts(grid), self.size, self.shift, strict=True):
            place = torch.arange(count * size, device=like.device)
            # What stayed, the last window's share of it, and what came round from the other side.
            last = (place >= (count - 1) * size).long()
            sides.append(last + (place >= count * size - shift) if shift else torch.zeros_like(place))
        region = (3 * sides[0][:, None] + sides[1])[None, :, :, None]
        region = self._replace(shift=(0, 0)).cut(region)[0, :, :, 0]
        return -100.0 * (region[:, :, None] != region[:, None, :]).to(like.dtype)

    def _counts(self, grid: tuple[int, int] | torch.Size) -> tuple[int, int]:
        """Windows per column and row of a map, the incomplete ones included."""
        return -(-grid[0] // self.size[0]), -(-grid[1] // self.size[1])

    def _pad(self, x: Tensor) -> Tensor:
        rows, columns = self._counts(x.shape[1:3])
        lacking = rows * self.size[0] - x.shape[1], columns * self.size[1] - x.shape[2]
        return F.pad(x, (0, 0, 0, lacking[1], 0, lacking[0])) if any(lacking) else x

    def _roll(self, x: Tensor, back: bool = False) -> Tensor:
        sign = 1 if back else -1
        return torch.roll(x, (sign * self.shift[0], sign * self.shift[1]), (1, 2)) if any(self.shift) else x


class Parts:
    """The parts of a library's attention by the names that Swin's authors gave them, where the library has others.

    A library derives from it and sets the attributes that are read here: ``qkv``, ``proj``, ``num_heads``, ...

    Args:
        attn: the library's module.
    """

    def __init__(self, attn: nn.Module) -> None:
        self.attn = attn

    def stand_in(self, forward: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
        """What has all hooks of the library's module, and computes ``forward`` when it is called."""
        return stand_in(self.attn, forward)


@dataclass
class WindowAttention:
    """Attention of (B, P+N, C) in windows: of N patches (H, W) = ``grid`` to those of their window, P prompts and a
    memory, and of the prompts to all; up to the projection after it.

    Attributes:
        attn: a library's attention module, of Swin or Swin V2.
        windows: how the map is cut.
        grid: (H, W).
    """

    attn: nn.Module | Parts
    windows: Windows
    grid: tuple[int, int]

    def __call__(self, x: Tensor, memory: KeyValue | None) -> Tensor:
        """Normed tokens, prompts first -> (B, P+N, C)"""
        attn, grid, windows = self.attn, self.grid, self.windows
        batch, prompts = x.shape[0], x.shape[1] - grid[0] * grid[1]
        cut = windows.cut(x[:, prompts:].unflatten(1, grid))
        count = cut.shape[1]
        # Each window is one of a larger batch: (B*nW, h, A, d).
        query, key, value = (part.flatten(0, 1) for part in _project(attn, cut))
        if prompts:
            own_query, *own = _project(attn, x[:, :prompts])
            memory = KeyValue(*own) if memory is None else _joined(memory, own)
        bias, mask = _position_bias(attn), windows.mask(grid, cut)
        if mask is not None:
            bias = (bias + mask[:, None]).repeat(batch, 1, 1, 1)
        dropout, scale = attn.attn_drop.p if attn.training else 0.0, _scale(attn)
        y = attend(query, key, value, memory, dropout, bias.contiguous(), scale)
        out = windows.join(y.unflatten(0, (batch, count)), grid).flatten(1, 2)
        if prompts:
            own_query = own_query[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)
            y = attend(own_query, key, value, memory, dropout, scale=scale)
            # The projection is linear: average first.
            out = torch.cat([y.unflatten(0, (batch, count)).mean(1), out], dim=1)
        return out

    def keys_values(self, x: Tensor) -> KeyValue:
        return KeyValue(*_project(self.attn, x, first=1))

    def recall(self, x: Tensor, memory: KeyValue) -> Tensor:
        """A memory is that of every window."""
        return gather(_project(self.attn, x)[0], memory, _scale(self.attn))


def _joined(memory: KeyValue, own: Sequence[Tensor]) -> KeyValue:
    """A memory and (B, h, P, d) of prompts that are tokens, as one."""
    batch, prompts = own[0].shape[0], own[0].shape[2]
    memory = for_each(memory, batch)
    key, value = (torch.cat([part.expand(batch, -1, -1, -1), mine], dim=2) for part, mine in zip(memory[:2], own))
    return KeyValue(key, value, None if memory.hidden is None else F.pad(memory.hidden, (0, prompts)))


def call(attn: nn.Module | Parts, x: Tensor, grid: tuple[int, int], windows: Windows) -> Tensor:
    """The same by calling the parts of ``attn``, once each, its projection too; prompts are tokens of every window.

    A library's attention has a table for the patches of a window alone. So its forward cannot be called with prompts;
    all that it calls is, and what is hooked to it.
    """
    prompts = x.shape[1] - grid[0] * grid[1]
    cut = windows.cut(x[:, prompts:].unflatten(1, grid))
    batch, count = cut.shape[:2]
    cut = torch.cat([x[:, None, :prompts].expand(-1, count, -1, -1), cut], dim=2).flatten(0, 1)
    bias, mask = _position_bias(attn)[None], windows.mask(grid, cut)
    if mask is not None:
        bias = (bias + mask[:, None]).repeat(batch, 1, 1, 1)
    bias = F.pad(bias, (prompts, 0, prompts, 0)).to(cut.dtype)

    def forward(x: Tensor, mask: Tensor | None = None) -> Tensor:
        query, key, value = _projected(attn, x)
        if getattr(attn, 'fused_attn', False) and not _is_cosine(attn):
            dropout = attn.attn_drop.p if attn.training else 0.0
            y = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)
        else:
            y = attn.attn_drop(attn.softmax(query * _scale(attn) @ key.mT + bias)) @ value
        return attn.proj_drop(attn.proj(y.transpose(1, 2).flatten(2)))

    called = attn.stand_in(forward) if isinstance(attn, Parts) else stand_in(attn, forward)
    y = called(cut).unflatten(0, (batch, count))
    return torch.cat([y[:, :, :prompts].mean(1), windows.join(y[:, :, prompts:], grid).flatten(1, 2)], dim=1)


def halved(grid: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of a map after merging; an odd side is padded."""
    return (grid[0] + 1) // 2, (grid[1] + 1) // 2


def merge(
    tokens: Tensor, grid: tuple[int, int], downsample: Callable[[Tensor], Tensor]
) -> tuple[Tensor, tuple[int, int]]:
    """(B, P+N, C) -> (B, P+N', C'), (H', W'): patches merge two by two, and a prompt with three copies of itself.

    Args:
        tokens: prompts first.
        grid: (H, W); N = H * W.
        downsample: the library's merging, (B, H, W, C) -> (B, H', W', C').
    """
    prompts = tokens.shape[1] - grid[0] * grid[1]
    merged = downsample(tokens[:, prompts:].unflatten(1, grid))
    grid, merged = (merged.shape[1], merged.shape[2]), merged.flatten(1, 2)
    if not prompts:
        return merged, grid
    # A column of prompts, each twice as high and wide as a patch.
    column = tokens[:, :prompts].repeat_interleave(2, dim=1)[:, :, None].expand(-1, -1, 2, -1)
    return torch.cat([downsample(column).flatten(1, 2), merged], dim=1), grid


def _project(attn: nn.Module, x: Tensor, first: int = 0) -> tuple[Tensor, ...]:
    """(..., n, C) -> query, key, value from number ``first`` on, each (..., h, n, d)."""
    return _normalised(attn, project(x, attn.qkv.weight, _bias(attn), attn.num_heads, first))


def _projected(attn: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """The same, all three, with the map called where the library calls it."""
    if _has_biases(attn) and not getattr(attn, 'qkv_bias_separate', False):
        x = F.linear(x, attn.qkv.weight, _bias(attn))
    else:
        x = attn.qkv(x) + _bias(attn) if _has_biases(attn) else attn.qkv(x)
    return _normalised(attn, split_heads(x, attn.num_heads))


def _has_biases(attn: nn.Module) -> bool:
    """V2 keeps those of queries and of values by themselves; its keys have none."""
    return getattr(attn, 'q_bias', None) is not None


def _bias(attn: nn.Module) -> Tensor | None:
    if _has_biases(attn):
        return torch.cat([attn.q_bias, torch.zeros_like(attn.v_bias), attn.v_bias])
    return attn.qkv.bias


def _normalised(attn: nn.Module, parts: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """V2 has unit queries and keys."""
    if not _is_cosine(attn):
        return tuple(parts)
    *query, key, value = parts
    query = [F.normalize(part, dim=-1) * attn.logit_scale.clamp(max=log(100)).exp() for part in query]
    return *query, F.normalize(key, dim=-1), value


def _position_bias(attn: nn.Module) -> Tensor:
    """(h, A, A)"""
    if _is_cosine(attn):
        table = 16 * attn.cpb_mlp(attn.relative_coords_table).flatten(0, -2).sigmoid()
    else:
        table = attn.relative_position_bias_table
    index = attn.relative_position_index
    return table[index.flatten()].unflatten(0, tuple(index.shape)).permute(2, 0, 1)


def _is_cosine(attn: nn.Module) -> bool:
    return hasattr(attn, 'logit_scale')


def _scale(attn: nn.Module) -> float:
    return 1.0 if _is_cosine(attn) else attn.scale
