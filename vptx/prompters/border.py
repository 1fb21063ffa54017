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
    """Pixels that are added along the four edges of an image: 6 * T * (H + W - 2T) numbers.

    Source: Bahng et al., "Exploring Visual Prompts for Adapting Large-Scale Models", 2022,
    https://arxiv.org/abs/2203.17274 ("padding").

    Args:
        width: The width T of each edge, in pixels.
        init: The initial values. ``'gaussian'`` is as published. ``'zero'`` leaves the network's input as it is at
            first. ``'normalised'`` draws pixels from U(0, 1).
        compose: ``'add'`` adds the border to the image, as published. ``'replace'`` puts it in place of what the image
            has there.
        **others: ``space`` and ``bound`` of ``ImagePrompter``.

    Raises:
        ValueError: ``width`` is no whole number, or ``compose`` is unknown. Or, when the prompter is bound, the border
            leaves nothing of the image.
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
