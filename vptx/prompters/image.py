"""Prompts on the image: one sentence, of which each prompter of this kind chooses the words.

    x' = place(x) + M * bound(P)

``place`` puts the image on the canvas that the network sees: as it is, small in the middle of it, or with an edge. P is
learnt, as many numbers as are used: a frame, a patch, a matrix of low rank, all of the canvas. ``bound`` squashes it or
does not; the mask M comes after that, so that what is not prompted gets exactly nothing (sigmoid(0) is 0.5). What is
under the prompt stays, or is taken away first: (1 - M) * place(x). All of it is in a *space* (``pixels.py``), and the
image is never taken out of its own: a prompt of zero changes no bit.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import Geometry
from vptx.prompters.base import Prompter, check_whole
from vptx.prompters.pixels import INITS, SPACES, check_choice, check_size, draw_pixels, in_network

__all__ = [
    'BOUNDS',
    'COMPOSITIONS',
    'NORMS',
    'FramePrompter',
    'ImagePrompter',
    'PlacedPrompter',
    'embed_small',
    'frame',
    'middle',
]

#: Of P; ``'clamp'`` bounds x' instead.
BOUNDS = dict(none=nn.Identity(), tanh=torch.tanh, sigmoid=torch.sigmoid, clamp=nn.Identity())
COMPOSITIONS = ('add', 'replace')
#: Of networks that make pixels or masks: of one image alone, or of a batch.
NORMS = {'group': lambda width: nn.GroupNorm(1, width), 'batch': nn.BatchNorm2d}


class ImagePrompter(Prompter):
    """The base of prompts that are added to the image; a subclass says which pixels (``allocate``,
    ``pattern``), and maybe where the image goes (``place``).

    Args:
        space: what the prompt's numbers are: ``'normalised'``, as the network sees pixels; ``'unit'``, pixels in
            [0, 1]; ``'symmetric'``, in [-1, 1]. A learning rate means another thing in each: ``pixels.convert_lr``.
        bound: ``'none'``, ``'tanh'`` (to (-1, 1)) or ``'sigmoid'`` (to (0, 1)), in that space; ``'clamp'`` cuts the
            prompted image off at black and white, as BlackVIP does, whatever the space.
        init: ``'zero'``, ``'gaussian'``, N(0, 1), or ``'normalised'``, U(0, 1) pixels, in that space and before the
            bound.

    Attributes:
        compose: ``'add'``, or ``'replace'`` where the prompt covers what is under it; for a subclass to offer.

    Raises:
        ValueError: an unknown ``space``, ``bound`` or ``init``; an image of another size than the prompt is for.
    """

    doors = frozenset({'image'})
    compose: str = 'add'
    scale: Tensor
    zero: Tensor
    black: Tensor
    white: Tensor

    def __init__(self, space: str = 'normalised', bound: str = 'none', init: str = 'zero') -> None:
        super().__init__()
        self.space = check_choice('space', space, SPACES)
        self.bound = check_choice('bound', bound, tuple(BOUNDS))
        self.init = check_choice('init', init, INITS)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.size = geometry.image
        scale, zero = in_network(self.space, geometry)
        self.register_buffer('scale', scale, persistent=False)
        self.register_buffer('zero', zero, persistent=False)
        if self.bound == 'clamp':
            one, black = in_network('unit', geometry)
            self.register_buffer('black', black, persistent=False)
            self.register_buffer('white', black + one, persistent=False)
        self.allocate(geometry)

    def draw(self, geometry: Geometry, *shape: int) -> nn.Parameter:
        """Learnt pixels of a shape, as they begin."""
        return nn.Parameter(draw_pixels(torch.empty(shape), self.init, geometry, self.space))

    def squash(self, pixels: Tensor) -> Tensor:
        """The bound: (C, h, w) -> (C, h, w); or (C+1, h, w), with ones that become M, where pixels replace others."""
        bounded = BOUNDS[self.bound](pixels)
        return bounded if self.compose == 'add' else torch.cat([bounded, torch.ones_like(bounded[:1])])

    def allocate(self, geometry: Geometry) -> None:
        """Draw the parameters for a canvas of ``size``."""
        raise NotImplementedError(f'{type(self).__name__} must define allocate(geometry)')

    def place(self, image: Tensor) -> Tensor:
        """(B, C, h, w) -> the canvas (B, C, H, W)."""
        check_size(image, self.size, f'{type(self).__name__} has learnt pixels')
        return image

    def pattern(self, canvas: Tensor) -> Tensor:
        """What is added to a canvas (B, C, H, W), in ``space``, squashed and zero outside of the mask: (C, H, W),
        or (B, C, H, W) where it differs from sample to sample; with one more channel where ``squash`` has one."""
        raise NotImplementedError(f'{type(self).__name__} must define pattern(canvas)')

    def image(self, image: Tensor) -> Tensor:
        canvas = self.place(image)
        pixels = self.pattern(canvas)
        if self.compose == 'replace':
            pixels, mask = pixels.split([canvas.shape[1], 1], dim=-3)
            canvas = torch.where(mask > 0, self.zero, canvas)
        prompted = canvas + self.scale * pixels
        return prompted.clamp(self.black, self.white) if self.bound == 'clamp' else prompted


class FramePrompter(ImagePrompter):
    """The base of prompts around something: C * (H * W - h * w) numbers around a hole of h x w.

    Attributes:
        margins: top, bottom, left and right, in pixels; a subclass sets them before ``allocate``.
    """

    margins: tuple[int, int, int, int]

    def allocate(self, geometry: Geometry) -> None:
        (height, width), (top, bottom, left, right) = self.size, self.margins
        self.rows = self.draw(geometry, geometry.channels, top + bottom, width)
        self.columns = self.draw(geometry, geometry.channels, height - top - bottom, left + right)

    def pattern(self, canvas: Tensor) -> Tensor:
        (height, width), (top, bottom, left, right) = self.size, self.margins
        above, below = self.squash(self.rows).split([top, bottom], dim=1)
        before, after = self.squash(self.columns).split([left, right], dim=2)
        hole = before.new_zeros(before.shape[0], height - top - bottom, width - left - right)
        return torch.cat([above, torch.cat([before, hole, after], dim=2), below], dim=1)


class PlacedPrompter(ImagePrompter):
    """The base of prompts in whose middle the image is small: it is resized to a square, and nothing is under it.

    Args:
        side: of the square, in pixels. Images that come in this size are not resized.
        **others: of ``ImagePrompter``.

    Raises:
        ValueError: no whole number of pixels, or, when bound, as many as the network's images have.
    """

    def __init__(self, side: int, **others) -> None:
        super().__init__(**others)
        self.side = check_whole('side', side)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        if self.side >= min(geometry.image):
            raise ValueError(
                f'side={self.side} leaves no space around the image: {geometry.name} sees '
                f'{geometry.image[0]} x {geometry.image[1]} px'
            )
        super().bind(geometry, reads_prompts)

    def place(self, image: Tensor) -> Tensor:
        return embed_small(image, self.side, self.size, self.zero)


def embed_small(image: Tensor, side: int, size: tuple[int, int], colour: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W): a square of ``side`` pixels in the middle of ``colour`` (C, 1, 1)."""
    if image.shape[-2:] != (side, side):
        # In half precision not every device can.
        whole = image.float() if image.element_size() < 4 else image
        if torch.compiler.is_exporting():
            rows, columns = (_shares(length, side).to(whole) for length in image.shape[-2:])
            whole = rows @ whole @ columns.mT
        else:
            whole = F.interpolate(whole, (side, side), mode='bilinear', antialias=True)
        image = whole.to(image.dtype)
    return frame(image, middle(side, size), colour)


def _shares(length: int, side: int) -> Tensor:
    """Of a line of pixels in each of another length, linear, and averaged where it gets shorter: (side, length)

    It is torch's ``interpolate`` with ``antialias``, a word that OpenVINO does not read.
    """
    step = length / side
    centres = (torch.arange(side, dtype=torch.float64)[:, None] + 0.5) * step
    far = (torch.arange(length, dtype=torch.float64) + 0.5 - centres).abs() / max(step, 1)
    shares = (1 - far).clamp(min=0)
    return shares / shares.sum(1, keepdim=True)


def frame(image: Tensor, margins: tuple[int, int, int, int], colour: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W): the image, bit for bit, within ``margins`` of ``colour`` (C, 1, 1)."""
    top, bottom, left, right = margins
    batch, channels, height, width = image.shape

    def fill(height: int, width: int) -> Tensor:  # padding knows one value for all channels
        return colour.expand(batch, channels, height, width)

    rows = torch.cat([fill(height, left), image, fill(height, right)], dim=3)
    return torch.cat([fill(top, left + width + right), rows, fill(bottom, left + width + right)], dim=2)


def middle(side: int, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a square of ``side`` pixels in the middle; the odd pixel goes to top and left."""
    (top, bottom), (left, right) = (((s - side + 1) // 2, (s - side) // 2) for s in size)
    return top, bottom, left, right
