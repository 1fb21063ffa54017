"""Mona: Yin et al., "5%>100%: Breaking Performance Shackles of Full Fine-Tuning on Visual Recognition Tasks",
CVPR 2025, https://arxiv.org/abs/2408.08345

After the shortcut around attention and after that around the MLP, tokens go through a bottleneck with depthwise
convolutions of three sizes (section 3.3):

    n = g LN(x) + g' x,    h = op(W_down n),    x <- x + W_up dropout(GELU(h)),    g = 1e-6 and g' = 1 initially
    op(z) = u + Conv1x1(u),    u = z + (DWConv3(z) + DWConv5(z) + DWConv7(z)) / 3

It does not begin as the network itself. The public code freezes by name, by which the norms of the four maps of a Swin
stay at their initial 1 and 0, and it leaves the backbone's drop path on; here maps have norms that train, and what is
frozen is in eval mode.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import At, Geometry
from vptx.prompters.base import Prompter, check_grid, check_listed, check_whole, pick_layers
from vptx.prompters.grid import over_grid
from vptx.registry import PROMPTERS

_SIDES = (3, 5, 7)


@PROMPTERS.register_module()
class Mona(Prompter):
    """A convolutional bottleneck after attention and MLP of every layer: 2 * D * h + h^2 + 88 * h + 5 * D each.

    The strongest published adapter for dense tasks; 2,684,928 numbers of a ViT-B/16.

    Source: Yin et al., CVPR 2025, https://arxiv.org/abs/2408.08345, section 3.3.

    Args:
        hidden: h.
        after: any of ``'attn'`` and ``'mlp'``. Networks without the door memory have ``('mlp',)`` alone.
        dropout: of the bottleneck's units, while training; 0.1 in the public code.
        layers: in which layers, counted from 0, negative from the end; None for all.

    Raises:
        ValueError: options out of range; when bound, a network without a grid of patches.
    """

    doors = frozenset({'tokens', 'memory'})
    adds_tokens = False

    def __init__(
        self,
        hidden: int = 64,
        after: Sequence[str] = ('attn', 'mlp'),
        dropout: float = 0.0,
        layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(after, str) or not after or not set(after) <= {'attn', 'mlp'}:
            raise ValueError(f"after must name 'attn', 'mlp' or both, not {after!r}")
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), not {dropout}')
        self.hidden = check_whole('hidden', hidden)
        self.after = tuple(after)
        self.dropout = nn.Dropout(dropout)
        self._asked = check_listed(layers)
        if 'attn' not in after:
            self.doors = frozenset({'tokens'})

    @property
    def acts_between(self) -> bool:
        return 'attn' in self.after

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'layers': list(self.layers)}

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        check_grid(type(self).__name__, geometry)
        self.layers = pick_layers(self._asked, geometry)
        self.branches = nn.ModuleDict(
            {
                f'{name}_{layer}': _Branch(geometry.widths[layer], self.hidden)
                for layer in self.layers
                for name in self.after
            }
        )

    def between(self, tokens: Tensor, at: At) -> Tensor:
        return self._through(f'attn_{at.layer}', tokens, at)

    def after_layer(self, tokens: Tensor, at: At) -> Tensor:
        return self._through(f'mlp_{at.layer}', tokens, at)

    def _through(self, name: str, tokens: Tensor, at: At) -> Tensor:
        if name not in self.branches:
            return tokens
        branch: Any = self.branches[name]
        return tokens + branch.up(self.dropout(F.gelu(over_grid(branch.convolve, branch.enter(tokens), at.grid))))


class _Branch(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.share = nn.Parameter(1e-6 * torch.ones(width))
        self.shortcut = nn.Parameter(torch.ones(width))
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.depthwise = nn.ModuleList(
            nn.Conv2d(hidden, hidden, side, padding=side // 2, groups=hidden) for side in _SIDES
        )
        self.pointwise = nn.Conv2d(hidden, hidden, 1)

    def enter(self, x: Tensor) -> Tensor:
        return self.down(self.norm(x) * self.share + x * self.shortcut)

    def convolve(self, z: Tensor) -> Tensor:
        """(B, h, H', W') -> (B, h, H', W')"""
        u = z + sum(conv(z) for conv in self.depthwise) / len(_SIDES)
        return u + self.pointwise(u)
