"""Adaptive prompts: Le et al., "Adaptive Prompt: Unlocking the Power of Visual Prompt Tuning", ICLR 2026,
https://arxiv.org/abs/2501.18936 (VAPT)

The prompts of the first layer are learnt. Those of layer l > 0 are made of the patches X that enter it (section 4):

    Z = W_l (k_l * LN_l(X)) + b_l    (P, D),    P_l = Z + W_2 relu(W_1 Z),    W_1 (r, D), W_2 (D, r)

k_l is one K x K kernel for all channels, without padding, W_l a map over the positions that are left; W_1 and W_2
belong to all layers. W_l = 0 and b_l = 0 initially, so the prompts of layers 1, 2, ... begin as zeros.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import At, Geometry
from vptx.prompters.base import TokenPrompter, check_grid, check_whole
from vptx.prompters.embedding import PromptEmbedding
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class AdaptivePrompter(TokenPrompter):
    """Deep prompts that a small network makes of each image: 55,608 numbers of a ViT-B/16 with P = 10 and r = 8.

    P * D + (L - 1) * (P * (n + 1) + K^2 + 2 * D) + 2 * D * r numbers, n positions of each map. They differ from
    image to image, so they cannot be folded. Images keep the network's own size.

    Source: Le et al. (VAPT), ICLR 2026, https://arxiv.org/abs/2501.18936, section 4.

    Args:
        num_tokens: P.
        hidden: r.
        kernel: K; a smaller map has a smaller kernel.
        dropout: of channels of the map, and of the hidden units, while training; 0.1 in the public code.
        init: of the first layer's prompts, of ``PromptEmbedding``.

    Raises:
        ValueError: options out of range; when bound, layers of several widths, or a network without a grid of patches;
            in a forward, a map of another size.
    """

    depends_on_image = True

    def __init__(
        self,
        num_tokens: int = 10,
        hidden: int = 8,
        kernel: int = 2,
        dropout: float = 0.0,
        init: str | None = None,
    ) -> None:
        super().__init__(num_tokens)
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), not {dropout}')
        self.hidden, self.kernel = check_whole('hidden', hidden), check_whole('kernel', kernel)
        self.channels, self.units = nn.Dropout1d(dropout), nn.Dropout(dropout)
        self._init = init

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        check_grid(type(self).__name__, geometry)
        super().bind(geometry, reads_prompts)
        self.embedding = PromptEmbedding(geometry.widths[:1], self.num_tokens, geometry, init=self._init)
        self.grids = [geometry.grid(layer) for layer in self.layers]
        later, widths = self.layers[1:], dict.fromkeys(geometry.widths[1:])
        self.norms = nn.ModuleList(nn.LayerNorm(geometry.widths[layer]) for layer in later)
        self.kernels, self.positions = nn.ParameterList(), nn.ModuleList()
        for layer in later:
            sides = [min(self.kernel, side) for side in self.grids[layer]]
            bound = (sides[0] * sides[1]) ** -0.5
            self.kernels.append(torch.empty(1, 1, *sides).uniform_(-bound, bound))
            left = [side - taken + 1 for side, taken in zip(self.grids[layer], sides, strict=True)]
            position = nn.Linear(left[0] * left[1], self.num_tokens)
            nn.init.zeros_(position.weight)
            nn.init.zeros_(position.bias)
            self.positions.append(position)
        self.downs = nn.ModuleDict({str(width): nn.Linear(width, self.hidden, bias=False) for width in widths})
        self.ups = nn.ModuleDict({str(width): nn.Linear(self.hidden, width, bias=False) for width in widths})

    def prompts(self, tokens: Tensor, at: At) -> Tensor:
        assert at.layer is not None
        if at.layer == 0:
            return self.embedding(0, tokens.shape[0])
        own, index = self.grids[at.layer], at.layer - 1
        if at.grid != own:
            raise ValueError(
                f'AdaptivePrompter has learnt weights for {own[0]} x {own[1]} patches before layer {at.layer}, this '
                f"image has {at.grid[0]} x {at.grid[1]}: keep the network's own image size"
            )
        norm: Any = self.norms[index]
        patches = norm(tokens[:, tokens.shape[1] - own[0] * own[1] :])
        channels = patches.transpose(1, 2).flatten(0, 1)[:, None].unflatten(2, own)  # one kernel for all
        mixed = F.conv2d(channels, self.kernels[index].to(channels.dtype)).flatten(1)
        mixed = self.channels(mixed.unflatten(0, (tokens.shape[0], tokens.shape[2])))
        made = self.positions[index](mixed).transpose(1, 2)
        width = str(int(tokens.shape[2]))
        return made + self.ups[width](self.units(F.relu(self.downs[width](made))))
