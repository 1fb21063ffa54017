"""A learnt border on the image: Bahng et al., "Exploring Visual Prompts for Adapting Large-Scale Models", 2022,
https://arxiv.org/abs/2203.17274 ("padding")

It is added to what the image has at its edges, in the normalised space, without a bound; 30 px of 224.
"""

from vptx.geometry import Geometry
from vptx.prompters.base import check_whole
from vptx.prompters.image import COMPOSITIONS, FramePrompter
from vptx.prompters.pixels import check_choice
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class BorderPrompter(FramePrompter):
    """Pixels added along the four edges: 6 * T * (H + W - 2T) numbers.

    Args:
        width: T, pixels of each edge.
        init: ``'gaussian'``, as published; ``'zero'`` begins at the network as it is; ``'normalised'``.
        compose: ``'add'``, as published, or ``'replace'``, the border in place of what the image has there.
        **others: ``space`` and ``bound`` of ``ImagePrompter``.

    Raises:
        ValueError: no whole number of pixels; an unknown ``compose``; when bound, so many that nothing of the image is
            left.
    """

    def __init__(self, width: int = 30, init: str = 'gaussian', compose: str = 'add', **others) -> None:
        super().__init__(init=init, **others)
        self.margins = (check_whole('width', width),) * 4
        self.compose = check_choice('compose', compose, COMPOSITIONS)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        if 2 * self.margins[0] >= min(geometry.image):
            raise ValueError(
                f'borders of {self.margins[0]} px leave nothing of the images of {geometry.image[0]} x '
                f'{geometry.image[1]} px that {geometry.name} sees: use PixelPrompter'
            )
        super().bind(geometry, reads_prompts)
