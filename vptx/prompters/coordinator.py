"""Pixels that a small network makes of what a frozen one sees: the Coordinator of Oh et al., "BlackVIP: Black-Box
Visual Prompting for Robust Transfer Learning", CVPR 2023, https://arxiv.org/abs/2303.14773

    x' = clip(x + strength * decoder([z(x), p])),    z an encoder's class token, p of U(0, 0.1)

[z, p] is a map of channels x H/32 x W/32 that the decoder doubles five times. The decoder and p, the trigger, are
learnt; the encoder is another network than the one that is prompted, and stays as it is. They are few enough numbers
to be learnt from forward calls alone: ``SPSAOptimWrapper``.
"""

from collections.abc import Iterable
from math import gcd, prod
from typing import Any

import torch
from torch import Tensor, nn

from vptx.geometry import Geometry
from vptx.prompters.base import check_whole
from vptx.prompters.encoder import encode, frozen_net
from vptx.prompters.image import NORMS, ImagePrompter
from vptx.prompters.pixels import check_choice
from vptx.registry import PROMPTERS

CELL = 2**5  # pixels of a side of what a cell of the first map becomes


@PROMPTERS.register_module()
class CoordinatorPrompter(ImagePrompter):
    """Pixels that a decoder makes of what an encoder sees in the image: 9,920 numbers as published, 800 of them the
    trigger.

    Source: Oh et al. (BlackVIP), CVPR 2023, https://arxiv.org/abs/2303.14773.

    Args:
        encoder: config of a net with a class token, with its weights; published with MAE's ViT-B/16. It sees what the
            network sees. No prompt file holds it; a file of another encoder's prompts is refused. None: the trigger is
            all of the map, and every image gets the same prompt.
        channels: of the first map.
        strength: what the decoder's pixels are multiplied with, 0.2 to 1 as published, a data set each.
        norm: in the decoder. ``'batch'``, as published, mixes the images of a training batch; ``'group'`` does not.
        space, bound: of ``ImagePrompter``; ``'clamp'`` as published.

    Raises:
        ValueError: no whole number of channels, or an unknown norm; when bound, an encoder without a class token, or
            with a larger one than the map, or for images of other channels.
    """

    encoder: Any

    def __init__(
        self,
        encoder: dict | None = None,
        channels: int = 32,
        strength: float = 1.0,
        norm: str = 'group',
        space: str = 'normalised',
        bound: str = 'clamp',
    ) -> None:
        super().__init__(space, bound)
        self.channels = check_whole('channels', channels)
        self.strength = strength
        self.norm = check_choice('norm', norm, tuple(NORMS))
        self._asked = encoder

    def allocate(self, geometry: Geometry) -> None:
        self.encoder, seen = None, 0
        if self._asked is not None:
            self.encoder = frozen_net(self._asked, type(self).__name__)
            if self.encoder.geometry.channels != geometry.channels:
                raise ValueError(
                    f'{geometry.name} takes images of {geometry.channels} channels, and the encoder of '
                    f'CoordinatorPrompter, {self.encoder.geometry.name}, of {self.encoder.geometry.channels}: build it '
                    'with as many (for timm, in_chans=...)'
                )
            seen = self.encoder.geometry.widths[-1]
        self.map = self.channels, *(-(-side // CELL) for side in self.size)
        if prod(self.map) <= seen:
            raise ValueError(
                f'channels={self.channels} make a map of {prod(self.map)} numbers, which the {seen} of '
                f"{self.encoder.geometry.name}'s class token fill: {seen // prod(self.map[1:]) + 1} channels or more "
                'have space for a trigger'
            )
        self.trigger = nn.Parameter(torch.empty(prod(self.map) - seen).uniform_(0, 0.1))
        parts: list[nn.Module] = []
        for before, width, after in ((self.channels, 64, 64), (64, 64, 32), (32, 32, 32), (32, 32, 16)):
            parts += [nn.ConvTranspose2d(before, width, 2, stride=2, groups=gcd(before, width))]
            parts += [nn.ConvTranspose2d(width, after, 1, bias=False), NORMS[self.norm](after), nn.GELU()]
        self.decoder = nn.Sequential(*parts, nn.ConvTranspose2d(16, geometry.channels, 2, stride=2, bias=False))

    def pattern(self, canvas: Tensor) -> Tensor:
        cells = self.trigger[None]
        if self.encoder is not None:
            cells = torch.cat([self.encode(canvas).to(cells), cells.expand(canvas.shape[0], -1)], dim=1)
        pixels = self.decoder(cells.unflatten(1, self.map))
        return self.strength * self.squash(pixels[..., : self.size[0], : self.size[1]])

    def encode(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> the class token of the encoder's last layer, without its final norm: (B, D)"""
        # Its parameters are buffers, so only an image that is learnt or attacked has gradients here.
        return encode(self.encoder.eval(), image)[:, 0]  # whatever the prompter's mode

    def frozen_tensors(self) -> Iterable[tuple[str, Tensor]]:
        return () if self.encoder is None else self.encoder.named_buffers()
