"""LoRA: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, https://arxiv.org/abs/2106.09685

A frozen linear map gets a learnt update of low rank (equation 3), by default those that make queries and values:

    y = W x + b + (alpha / r) B A x,    A (r, inputs), B (outputs, r)

It begins as the network itself, with B = 0.
"""

from collections.abc import MutableMapping, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from vptx.geometry import Affine, At, Geometry, Site
from vptx.prompters.base import InsidePrompter, Prompter, check_whole
from vptx.registry import PROMPTERS

# The queries, keys and values of most networks are the three parts of one map; elsewhere there are three maps.
_PARTS = ('q', 'k', 'v')


@PROMPTERS.register_module()
class LoRA(InsidePrompter):
    """Low-rank updates of linear maps in every layer: ``rank`` * (inputs + outputs) numbers for each map.

    Source: Hu et al., ICLR 2022, https://arxiv.org/abs/2106.09685, equation 3.

    Args:
        rank: The rank r of the updates.
        alpha: The updates are scaled by alpha / r. By default alpha is r.
        targets: The maps that are updated: any of ``'q'``, ``'k'``, ``'v'``, ``'proj'``, ``'fc1'``, ``'fc2'``.
        dropout: The probability of dropout at the input of A, while training.
        layers: The layers, counted from 0, or from the end if negative. None is all layers.

    Raises:
        ValueError: An option is out of range, or a target is unknown.
    """

    def __init__(
        self,
        rank: int = 8,
        alpha: float | None = None,
        targets: Sequence[str] = ('q', 'v'),
        dropout: float = 0.0,
        layers: Sequence[int] | None = None,
    ) -> None:
        super().__init__(layers)
        known = [*_PARTS, 'proj', 'fc1', 'fc2']
        if isinstance(targets, str) or not targets or not set(targets) <= set(known):
            raise ValueError(f'targets must be a list of {", ".join(known)}, not {targets!r}')
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), not {dropout}')
        self.rank = check_whole('rank', rank)
        self.scale = (rank if alpha is None else alpha) / rank
        self.targets = tuple(targets)
        self.dropout = nn.Dropout(dropout)

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'alpha': self.scale * self.rank}

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        names = {*self.targets, *(['qkv'] if set(_PARTS) & set(self.targets) else [])}
        self.sites = self.pick_sites(geometry, names)
        self.updates = nn.ModuleDict()
        for site in self.sites:
            parts = _PARTS if site.name == 'qkv' else (site.name,)
            for part in parts:
                if part in self.targets:
                    self.updates[f'{part}_{site.layer}'] = self._update(site.inputs, site.outputs // len(parts))

    def _update(self, inputs: int, outputs: int) -> nn.Sequential:
        down, up = nn.Linear(inputs, self.rank, bias=False), nn.Linear(self.rank, outputs, bias=False)
        nn.init.kaiming_uniform_(down.weight, a=sqrt(5))
        nn.init.zeros_(up.weight)
        return nn.Sequential(down, up)

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        input = self.dropout(input)
        if site.name != 'qkv':
            return output + self.scale * self.updates[f'{site.name}_{site.layer}'](input)
        parts = list(output.chunk(3, dim=-1))
        for index, part in enumerate(_PARTS):
            if part in self.targets:
                parts[index] = parts[index] + self.scale * self.updates[f'{part}_{site.layer}'](input)
        return torch.cat(parts, dim=-1)

    def merge(self, weights: MutableMapping[Site, Affine]) -> Prompter | None:
        for site in self.sites:
            weight, bias = weights[site]
            parts = _PARTS if site.name == 'qkv' else (site.name,)
            rows = list(weight.chunk(len(parts)))
            for index, part in enumerate(parts):
                if part in self.targets:
                    update: Any = self.updates[f'{part}_{site.layer}']
                    down, up = update
                    rows[index] = rows[index] + self.scale * up.weight @ down.weight
            weights[site] = Affine(torch.cat(rows), bias)
        return None
