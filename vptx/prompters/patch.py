"""A learnt patch on the image: Bahng et al., "Exploring Visual Prompts for Adapting Large-Scale Models", 2022,
https://arxiv.org/abs/2203.17274 ("fixed patch", "random patch")

The public code has one random position for a whole batch, drawn outside of the seeded generators and at evaluation too.
Here every sample has its own, drawn from the run's generator, and evaluation knows one position.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from vptx.geometry import Geometry
from vptx.prompters.base import check_whole
from vptx.prompters.image import COMPOSITIONS, ImagePrompter
from vptx.prompters.pixels import check_choice
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class PatchPrompter(ImagePrompter):
    """A square of pixels added to the image: 3 * T * T numbers.

    Source: Bahng et al., "Exploring Visual Prompts for Adapting Large-Scale Models", 2022,
    https://arxiv.org/abs/2203.17274 ("fixed patch", "random patch").

    Args:
        size: T, pixels of a side.
        position: top and left, in pixels, from the opposite edge where negative; ``(-T, -T)`` is the last corner.
        random: whether each sample of training has it anywhere, all positions being as likely. At evaluation it is at
            ``position``.
        init: ``'gaussian'``, as published; ``'zero'``, ``'normalised'``.
        compose: ``'add'``, as published, or ``'replace'``, the patch in place of what is under it.
        **others: ``space`` and ``bound`` of ``ImagePrompter``.

    Raises:
        ValueError: no whole number of pixels; an unknown ``compose``; when bound, a patch that is not on the image.
    """

    def __init__(
        self,
        size: int = 30,
        position: tuple[int, int] = (0, 0),
        random: bool = False,
        init: str = 'gaussian',
        compose: str = 'add',
        **others,
    ) -> None:
        super().__init__(init=init, **others)
        self.patch_size = check_whole('size', size)
        self.position = position
        self.random = random
        self.compose = check_choice('compose', compose, COMPOSITIONS)

    def allocate(self, geometry: Geometry) -> None:
        size = self.patch_size
        self.corner = [start + space * (start < 0) for start, space in zip(self.position, self.size, strict=True)]
        if any(start < 0 or start + size > space for start, space in zip(self.corner, self.size)):
            raise ValueError(
                f'a patch of {size} x {size} px at {tuple(self.position)} is not on an image of {self.size[0]} x '
                f'{self.size[1]} px'
            )
        self.delta = self.draw(geometry, geometry.channels, size, size)

    def pattern(self, canvas: Tensor) -> Tensor:
        patch, size, (height, width) = self.squash(self.delta), self.patch_size, self.size
        if not (self.random and self.training):
            top, left = self.corner
            return F.pad(patch, (left, width - left - size, top, height - top - size))
        # Drawn on the CPU: the same positions on every device.
        rows, columns = (
            (torch.randint(space - size + 1, (canvas.shape[0], 1)) + torch.arange(size)).to(canvas.device)
            for space in self.size
        )
        where = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)[:, None].expand(-1, patch.shape[0], -1)
        empty = patch.new_zeros(canvas.shape[0], patch.shape[0], height * width)
        return empty.scatter(2, where, patch.flatten(1).expand(canvas.shape[0], -1, -1)).unflatten(2, self.size)
