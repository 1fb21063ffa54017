"""Factor tuning: Jie and Deng, "FacT: Factor-Tuning for Lightweight Adaptation on Vision Transformer", AAAI 2023,
https://arxiv.org/abs/2212.03145

The updates of all linear maps of the network are one tensor of low rank. Map i is cut into blocks of D x D (queries,
keys, values, the projection, four blocks of each map of the MLP); the block gets the update (equations 4 and 6)

    dW_i = s V G_i U,    U (r, D), V (D, r),    TT: G_i (r, r) free,    TK: G_i = sum_p P[i, p] C[p]

U and V belong to all blocks. It begins as the network itself, with V = 0.
"""

from collections.abc import MutableMapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import Affine, At, Geometry, Site
from vptx.prompters.base import InsidePrompter, Prompter, check_whole
from vptx.registry import PROMPTERS

_MAPS = ('qkv', 'q', 'k', 'v', 'proj', 'fc1', 'fc2')


@PROMPTERS.register_module()
class FacT(InsidePrompter):
    """Updates of all linear maps as one tensor: 2 * r * D numbers, and r^3 + 12 * L * r (TK) or 12 * L * r^2 (TT).

    The fewest numbers of those that change weights: 30,976 of a ViT-B/16 with r = 16, by TK. ``vptx.merge`` makes
    inference cost what the frozen network costs. Layers of several widths have a tensor for each width.

    Source: Jie and Deng, AAAI 2023, https://arxiv.org/abs/2212.03145, equations 4 and 6.

    Args:
        rank: r.
        tucker: TK, or TT.
        scale: s, up to 100 in the public code, which chooses it for each task on its test images.
        dropout: of what U gives, while training; 0.1 in the public code.
        layers: in which layers, counted from 0, negative from the end; None for all.

    Raises:
        ValueError: options out of range; when bound, a network without such maps.
    """

    def __init__(
        self,
        rank: int = 16,
        tucker: bool = True,
        scale: float = 1.0,
        dropout: float = 0.0,
        layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__(layers)
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), not {dropout}')
        self.rank = check_whole('rank', rank)
        self.tucker = tucker
        self.scale = scale
        self.dropout = nn.Dropout(dropout)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.sites = self.pick_sites(geometry, _MAPS)
        self.ins, self.outs, self.cores, self.mixes = (nn.ParameterDict() for _ in range(4))
        self._blocks: dict[Site, tuple[int, int, int]] = {}  # of a map: the first one, rows of them, columns
        counts: dict[int, int] = {}
        for site in self.sites:
            width = geometry.widths[site.layer or 0]
            rows, columns = -(-site.outputs // width), -(-site.inputs // width)
            self._blocks[site] = counts.get(width, 0), rows, columns
            counts[width] = counts.get(width, 0) + rows * columns
        self._widths = {site: geometry.widths[site.layer or 0] for site in self.sites}
        rank = self.rank
        for width, count in counts.items():
            name = str(width)
            self.ins[name] = nn.init.xavier_uniform_(torch.empty(rank, width))
            self.outs[name] = torch.zeros(width, rank)
            self.cores[name] = nn.init.xavier_uniform_(torch.empty(rank if self.tucker else count, rank, rank))
            if self.tucker:
                self.mixes[name] = nn.init.xavier_uniform_(torch.empty(count, rank))

    def _cores(self, site: Site) -> Tensor:
        """(rows, columns, r, r) of the blocks of a map."""
        (first, rows, columns), name = self._blocks[site], str(self._widths[site])
        here = slice(first, first + rows * columns)
        if not self.tucker:
            return self.cores[name][here].unflatten(0, (rows, columns))
        return torch.einsum('ip,pqr->iqr', self.mixes[name][here], self.cores[name]).unflatten(0, (rows, columns))

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        width, cores, name = self._widths[site], self._cores(site), str(self._widths[site])
        x = F.pad(input, (0, cores.shape[1] * width - site.inputs)).unflatten(-1, (-1, width))
        hidden = self.dropout(F.linear(x, self.ins[name]))
        mixed = torch.einsum('...cr,ocqr->...oq', hidden, cores.to(hidden.dtype))
        update = F.linear(mixed, self.outs[name]).flatten(-2)
        return output + self.scale * update[..., : site.outputs]

    def merge(self, weights: MutableMapping[Site, Affine]) -> Prompter | None:
        for site in self.sites:
            name = str(self._widths[site])
            blocks = self.outs[name] @ self._cores(site) @ self.ins[name]  # (rows, columns, D, D)
            update = blocks.transpose(1, 2).flatten(2, 3).flatten(0, 1)[: site.outputs, : site.inputs]
            weight, bias = weights[site]
            weights[site] = Affine(weight + self.scale * update, bias)
        return None
