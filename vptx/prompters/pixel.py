"""Learnt pixels on all of the image: the full-size prompt that borders, patches and low ranks are cut from.

x' = x + P
"""

from torch import Tensor

from vptx.geometry import Geometry
from vptx.prompters.image import ImagePrompter
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class PixelPrompter(ImagePrompter):
    """One image added to every image: 3 * H * W numbers.

    Args:
        **options: ``space``, ``bound`` and ``init`` of ``ImagePrompter``.
    """

    def allocate(self, geometry: Geometry) -> None:
        self.delta = self.draw(geometry, geometry.channels, *self.size)

    def pattern(self, canvas: Tensor) -> Tensor:
        return self.squash(self.delta)
