"""Prefix tuning: Li and Liang, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", ACL 2021,
https://arxiv.org/abs/2101.00190; with one tensor as keys and as values, half of E2VPT: Han et al., "E^2VPT: An
Effective and Efficient Approach for Visual Prompt Tuning", ICCV 2023, https://arxiv.org/abs/2307.13770

The attention of every layer gets learnt keys and values, of each head its own (equation 4 of E2VPT):

    L_i(x) = softmax(Q_i [P_K, K_i]^T / sqrt(d)) [P_V, V_i],    P_K, P_V (heads, P, d)

They are raw: no norm, no projection and no bias makes them. Keys and values of deep prompts, W_k LN(P) + b_k and
W_v LN(P) + b_v, given as these, are deep prompts.

E2VPT is this next to deep prompts with factors that it prunes by (``vptx.prompters.pruning``):

    prompter=[dict(type='PrefixPrompter', num_tokens=5, shared=True), dict(type='DeepPrompter', num_tokens=10,
              segments=16, dropout=0.1)]
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vptx.geometry import At, Geometry, KeyValue
from vptx.prompters.base import Prompter, check_listed, check_whole, pick_layers
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class PrefixPrompter(Prompter):
    """P learnt keys and values in every layer: 2 * P * D numbers each, P * D where they are shared.

    Nothing of it goes through a layer, so it costs what its P keys cost in attention. It needs a network with the door
    memory, and layers that nothing else changes from inside.

    Source: Li and Liang, ACL 2021, https://arxiv.org/abs/2101.00190; Han et al. (E2VPT), ICCV 2023,
    https://arxiv.org/abs/2307.13770, equation 4.

    Args:
        num_tokens: P.
        shared: whether keys and values are the same numbers, as in E2VPT.
        layers: in which layers, counted from 0, negative from the end; None for all.
        dropout: probability that a number is zeroed while training, the same ones for the batch.

    Raises:
        ValueError: options out of range; when bound, a layer that the network does not have.
    """

    doors = frozenset({'memory'})
    shares_prefix = True

    def __init__(
        self, num_tokens: int = 5, shared: bool = False, layers: Sequence[int] | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), not {dropout}')
        self.num_tokens = check_whole('num_tokens', num_tokens)
        self.shared = shared
        self._asked = check_listed(layers)
        self.dropout = nn.Dropout(dropout)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.layers = pick_layers(self._asked, geometry)
        self.pairs = nn.ParameterList()
        for layer in self.layers:
            width = geometry.head_width(layer)
            pair = torch.empty(1 if self.shared else 2, geometry.heads[layer], self.num_tokens, width)
            # Kaiming's bound for (heads, P, d), as the public code draws them.
            bound = (6 / ((1 + 5) * self.num_tokens * width)) ** 0.5
            self.pairs.append(pair.uniform_(-bound, bound))

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'layers': list(self.layers)}

    def memory(self, tokens: Tensor, at: At) -> KeyValue | None:
        if at.layer not in self.layers:
            return None
        pair = self.dropout(self.pairs[self.layers.index(at.layer)])
        return KeyValue(pair[0], pair[-1])
