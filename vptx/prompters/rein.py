"""Rein: Wei et al., "Stronger, Fewer, & Superior: Harnessing Vision Foundation Models for Domain Generalized Semantic
Segmentation", CVPR 2024, https://arxiv.org/abs/2312.04265

After every layer, each patch f (D) compares itself with m learnt tokens T of that layer, and is refined by what those
say and by itself (equations 3 to 6):

    a = softmax(f T^T / sqrt(D)),    delta = sum_{j > 0} a_j (W_t T_j + b_t),    f <- f + s (W_f (f + delta) + b_f)

T = A B has rank r. Token 0 takes attention and adds nothing. W_t, W_f and s are those of all layers, s = 0.001
initially; with s = 0 it is the network itself. The prefix (class token, registers) stays as it is, so under a readout
of the class token the last layer's tokens learn nothing.

The public code links the tokens to the queries of Mask2Former, too, which is a part of that head and not here.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from vptx.geometry import At, Geometry
from vptx.prompters.base import Prompter, check_listed, check_whole, pick_layers
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class Rein(Prompter):
    """Patches refined by m tokens after every layer: L * (m * r + r * D) + 2 * (D^2 + D) + 1 numbers.

    For dense tasks on DINOv2, where it is the most adopted method; 1,347,841 numbers of a ViT-B.

    Source: Wei et al., CVPR 2024, https://arxiv.org/abs/2312.04265, equations 3 to 6.

    Args:
        num_tokens: m, 100 in the paper.
        rank: r, 16 in the paper.
        scale: s initially.
        layers: after which layers, counted from 0, negative from the end; None for all.

    Raises:
        ValueError: fewer than two tokens, or no rank; when bound, a layer that the network does not have.
    """

    doors = frozenset({'tokens'})
    needs_all_tokens = False  # each patch by itself
    of_training = Prompter.of_training | {'scale'}

    def __init__(
        self, num_tokens: int = 100, rank: int = 16, scale: float = 0.001, layers: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.num_tokens = check_whole('num_tokens', num_tokens, least=2)
        self.rank = check_whole('rank', rank)
        self._scale = scale
        self._asked = check_listed(layers)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.layers, self.prefix = pick_layers(self._asked, geometry), geometry.prefix
        self.downs, self.ups = nn.ParameterList(), nn.ParameterList()
        for layer in self.layers:
            width = geometry.widths[layer]
            bound = sqrt(6 / (geometry.channels * geometry.patch[0] * geometry.patch[1] + sqrt(width * self.rank)))
            self.downs.append(torch.empty(self.num_tokens, self.rank).uniform_(-bound, bound))
            self.ups.append(torch.empty(self.rank, width).uniform_(-bound, bound))
        widths = dict.fromkeys(geometry.widths[layer] for layer in self.layers)
        self.of_tokens = nn.ModuleDict({str(width): nn.Linear(width, width) for width in widths})
        self.of_patches = nn.ModuleDict({str(width): nn.Linear(width, width) for width in widths})
        self.scale = nn.Parameter(torch.tensor(float(self._scale)))

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'layers': list(self.layers)}

    def after_layer(self, tokens: Tensor, at: At) -> Tensor:
        if at.layer not in self.layers:
            return tokens
        index, width = self.layers.index(at.layer), int(tokens.shape[-1])
        learnt = self.downs[index] @ self.ups[index]
        patches = tokens[:, self.prefix :]
        weights = (patches @ learnt.mT * width**-0.5).softmax(-1)[..., 1:]
        delta = weights @ self.of_tokens[str(width)](learnt[1:])
        patches = patches + self.scale * self.of_patches[str(width)](delta + patches)
        return torch.cat([tokens[:, : self.prefix], patches.to(tokens.dtype)], dim=1)
