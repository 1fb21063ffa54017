"""Padding prompts: the "pad" location of Jia et al., "Visual Prompt Tuning", ECCV 2022, figure 5 and, for ConvNets,
table 5, https://arxiv.org/abs/2203.12119

A frame of learnt pixels is put around the image, which grows by T on each side and is not covered anywhere:

        [          rows[:T]          ]
    x = [ columns[:T]   image   columns[T:] ]        (C, H, W) -> (C, H + 2T, W + 2T)
        [          rows[T:]          ]

The paper uses it with ConvNeXt-B and ResNet-50, T from 1, 3, 5, 7, 9, 11. In the public code the learnt numbers are
pixels in [0, 1] that are normalised in each forward: ``space='unit'``.
"""

from torch import Tensor

from vptx.geometry import Geometry
from vptx.prompters.base import check_whole
from vptx.prompters.image import FramePrompter, frame
from vptx.prompters.pixels import check_size
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class PadPrompter(FramePrompter):
    """A frame of learnt pixels around the image: 6 * T * (H + W + 2T) numbers.

    Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119, figure 5 ("pad") and table
    5.

    Args:
        pad_size: T, pixels on each side. Patches have to divide the larger image.
        init: ``'normalised'``, U(0, 1) pixels, converted to ``space`` (the paper's); ``'gaussian'``, N(0, 1) in that
            space; ``'zero'``, the network's mean colour, or black with ``space='unit'``.
        **others: ``space`` and ``bound`` of ``ImagePrompter``.

    Raises:
        ValueError: no whole number of pixels, an unknown ``init``; when bound, a network that takes images of one size
            alone, or whose patches do not divide the larger image; an image of another size than the network's.
    """

    def __init__(self, pad_size: int = 8, init: str = 'normalised', **others) -> None:
        super().__init__(init=init, **others)
        self.pad_size = check_whole('pad_size', pad_size)
        self.margins = (self.pad_size,) * 4

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        pad, (height, width) = self.pad_size, geometry.image
        if not geometry.any_size:
            raise ValueError(
                f'PadPrompter makes images larger, but {geometry.name} takes them of {height} x {width} px alone: '
                'build it with dynamic_img_size=True, if its family can'
            )
        if not _divides(geometry, pad):
            fitting = [str(size) for size in range(1, 2 * max(geometry.patch)) if _divides(geometry, size)]
            raise ValueError(
                f'pad_size={pad} makes images of {height + 2 * pad} x {width + 2 * pad} px, which patches of '
                f'{geometry.patch[0]} x {geometry.patch[1]} px do not divide; {" or ".join(fitting) or "none"} would do'
            )
        super().bind(geometry, reads_prompts)

    def geometry_after(self, geometry: Geometry) -> Geometry:
        height, width = geometry.image
        return geometry.resized((height + 2 * self.pad_size, width + 2 * self.pad_size))

    def allocate(self, geometry: Geometry) -> None:
        self.inner = self.size
        self.size = self.inner[0] + 2 * self.pad_size, self.inner[1] + 2 * self.pad_size
        super().allocate(geometry)

    def place(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H + 2T, W + 2T)"""
        check_size(image, self.inner, 'PadPrompter has learnt a frame')
        return frame(image, self.margins, self.zero)


def _divides(geometry: Geometry, pad: int) -> bool:
    return all((side + 2 * pad) % patch == 0 for side, patch in zip(geometry.image, geometry.patch, strict=True))
