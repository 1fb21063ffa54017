"""Gated prompt tuning: Yoo et al., "Improving Visual Prompt Tuning for Self-supervised Vision Transformers", ICML 2023,
https://arxiv.org/abs/2306.05067

P vectors enter before the first layer. After each layer i a gate decides how much of what the layer made of them goes
on (section 4.1), and queries are divided by a learnt temperature (section 4.2):

    P_{i+1} = s(g_i) L_i(P_i) + (1 - s(g_i)) P_i,    attention_i = softmax(Q K^T / (tau_i sqrt(d))) V

s is the logistic function. g = -infinity are the same deep prompts in all layers, g = infinity are shallow ones. The
public code clamps tau to [0.01, 10] by writing to the parameter; here it is clamped where it is used.
"""

from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from vptx.geometry import At, Geometry, Site
from vptx.prompters.base import TokenPrompter, pick_sites
from vptx.prompters.embedding import PromptEmbedding, embedding_arguments
from vptx.registry import PROMPTERS

SMALLEST, LARGEST = 0.01, 10.0


@PROMPTERS.register_module()
class GatedPrompter(TokenPrompter):
    """P learnt tokens that gates let through the layers, and temperatures: P * D + (L - 1) + L numbers.

    Between shallow and deep prompts, with the numbers of the first; made for MAE's and MoCo's networks.

    Source: Yoo et al., ICML 2023, https://arxiv.org/abs/2306.05067, sections 4.1 and 4.2.

    Args:
        num_tokens: P, 100 in the paper.
        gate: g of all layers initially; -5 in the public code for MAE, which is nearly deep and shared.
        temperature: whether tau is learnt. Layers are then called, as one of their modules is changed.
        **embedding: ``dropout``, ``init`` and others of ``PromptEmbedding``.

    Raises:
        ValueError: a gate that is no number; when bound, temperatures for a network whose queries are made where no
            prompter reaches.
    """

    doors = frozenset({'tokens', 'inside'})
    needs_all_tokens = False  # after the last layer there is no gate
    of_training = TokenPrompter.of_training | {'gate'}

    def __init__(self, num_tokens: int = 100, gate: float = -5.0, temperature: bool = True, **embedding) -> None:
        super().__init__(num_tokens, layers=[0])
        if not isinstance(gate, (int, float)) or not isfinite(gate):
            raise ValueError(f'gate must be a number, not {gate!r}')
        self.gate = float(gate)
        self.temperature = temperature
        if not temperature:
            self.doors = frozenset({'tokens'})
        self._embedding = embedding_arguments(type(self), embedding)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        super().bind(geometry, reads_prompts)
        self.embedding = PromptEmbedding(geometry.widths[:1], self.num_tokens, geometry, **self._embedding)
        self.gates = nn.Parameter(torch.full((geometry.depth - 1,), self.gate))
        if self.temperature:
            self.sites = pick_sites(type(self).__name__, geometry, None, ('qkv', 'q'))
            self.temperatures = nn.Parameter(torch.ones(geometry.depth))

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'temperature': self.temperature}

    def prompts(self, tokens: Tensor, at: At) -> Tensor:
        return self.embedding(0, tokens.shape[0])

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        assert site.layer is not None
        factor = 1 / self.temperatures[site.layer].clamp(SMALLEST, LARGEST)
        if site.name == 'q':
            return factor * output
        query, key, value = output.chunk(3, dim=-1)
        return torch.cat([factor * query, key, value], dim=-1)

    def after_layer(self, tokens: Tensor, at: At) -> Tensor:
        assert at.layer is not None
        if at.layer >= len(self.gates):
            return super().after_layer(tokens, at)
        assert at.entered is not None
        first, last = self.prefix, self.prefix + self.num_tokens
        prompts = torch.lerp(at.entered[:, first:last], tokens[:, first:last], self.gates[at.layer].sigmoid())
        return torch.cat([tokens[:, :first], prompts, tokens[:, last:]], dim=1)
