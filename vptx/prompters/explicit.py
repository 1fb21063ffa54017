"""Explicit visual prompts: Liu et al., "Explicit Visual Prompting for Low-Level Structure Segmentations", CVPR 2023,
https://arxiv.org/abs/2303.10883 (EVP); on the encoder of Segment Anything: Chen et al., "SAM-Adapter", ICCV 2023
workshops, https://arxiv.org/abs/2304.09148

What is added to the patches before every layer i is made of the embedded patches E and of the high frequencies of the
image (equations 2 to 7):

    F = h * |high(image)| + W_e E,    x <- x + W_up GELU(W_i F)

high() takes the lowest frequencies out of the spectrum, a square of a share of its area; h is a patch embedding of its
own, and W_up belongs to all layers. It does not begin as the network itself.
"""

from math import pi, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import At, Geometry
from vptx.prompters.base import Prompter, check_grid, check_whole
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class ExplicitPrompter(Prompter):
    """Vectors of edges, added to the patches before every layer: 888,192 numbers of a ViT-B/16 at 1/4, 63,312 at 1/32.

    With c = D // ``reduction``: C * h * w * c + c + D * c + c + L * (c^2 + c) + c * D + D numbers. For what differs by
    texture and not by content: defocus, forgeries, shadows, camouflage. On Segment Anything's encoder: SAM-Adapter.

    Source: Liu et al. (EVP), CVPR 2023, https://arxiv.org/abs/2303.10883, equations 2 to 7.

    Args:
        reduction: how much narrower F is than the layers, 4 to 64 in the paper.
        mask: the share of the area of the spectrum that is taken out, 0.25 in the paper.

    Raises:
        ValueError: options out of range; when bound, a reduction to less than one number, or a network without a
            grid of patches.
    """

    doors = frozenset({'tokens'})
    adds_tokens = False

    def __init__(self, reduction: int = 4, mask: float = 0.25) -> None:
        super().__init__()
        if not 0 < mask < 1:
            raise ValueError(f'mask must be in (0, 1), not {mask!r}')
        self.reduction = check_whole('reduction', reduction)
        self.mask = mask

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        check_grid(type(self).__name__, geometry)
        width = geometry.widths[0] // self.reduction
        if not width:
            raise ValueError(f'reduction={self.reduction} leaves nothing of the width {geometry.widths[0]}')
        self.patch, self.prefix = geometry.patch, geometry.prefix
        self.frequencies = nn.Conv2d(geometry.channels, width, self.patch, stride=self.patch)
        self.embedded = nn.Linear(geometry.widths[0], width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in geometry.widths)
        widths = dict.fromkeys(geometry.widths)
        self.ups = nn.ModuleDict({str(outputs): nn.Linear(width, outputs) for outputs in widths})
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def look(self, image: Tensor, tokens: Tensor) -> Tensor:
        """Edges and embedded patches: (B, c, H', W')"""
        lacking = [-side % step for side, step in zip(image.shape[-2:], self.patch, strict=True)]
        edges = self.frequencies(F.pad(high(image, self.mask), (0, lacking[1], 0, lacking[0])))
        patches = self.embedded(tokens[:, tokens.shape[1] - prod(edges.shape[-2:]) :])
        return edges + patches.transpose(1, 2).unflatten(2, edges.shape[-2:])

    def before_layer(self, tokens: Tensor, at: At) -> Tensor:
        assert at.layer is not None
        seen, width = at.seen, str(int(tokens.shape[-1]))
        if tuple(seen.shape[-2:]) != at.grid:  # patches have been merged
            seen = F.adaptive_avg_pool2d(seen, at.grid)
        up: Any = self.ups[width]
        prompts = up(F.gelu(self.layers[at.layer](seen.flatten(2).transpose(1, 2))))
        start = tokens.shape[1] - prompts.shape[1]
        return torch.cat([tokens[:, :start], tokens[:, start:] + prompts.to(tokens.dtype)], dim=1)


def high(image: Tensor, share: float) -> Tensor:
    """The size of what is left of (B, C, H, W) without its lowest frequencies, a square of that share of the area.

    With matrices and not with a Fourier transform, which no other format has of complex numbers.
    """
    exact = image if image.dtype == torch.float64 else image.float()  # in half precision the sums would be rough
    height, width = image.shape[-2:]
    reach = int((height * width * share) ** 0.5 // 2)
    rows, columns = (_low(side, reach, exact) for side in (height, width))
    low = rows[0] @ exact @ columns[0].mT - rows[1] @ exact @ columns[1].mT  # the real part of a complex product
    return (exact - low).abs().to(image.dtype)


def _low(side: int, reach: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Of a line, the frequencies -reach to reach - 1 alone: real and imaginary part of that map (side, side)"""
    frequencies = torch.arange(max(-reach, -(side // 2)), min(reach, (side + 1) // 2), device=like.device)
    places = torch.arange(side, device=like.device)
    angles = (frequencies[:, None] * places % side).to(like.dtype) * (2 * pi / side)
    cos, sin = angles.cos(), angles.sin()
    return (cos.mT @ cos + sin.mT @ sin) / side, (sin.mT @ cos - cos.mT @ sin) / side
