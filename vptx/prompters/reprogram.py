"""A small image in the middle of a learnt frame: Elsayed et al., "Adversarial Reprogramming of Neural Networks",
ICLR 2019, https://arxiv.org/abs/1806.11146

    x' = pad(x) + M * tanh(W),    M zero where the image is

in the space of pixels in [-1, 1], whose zero is grey. Others do so in ``space='unit'``, whose zero is black: ILM-VP
(Chen et al., CVPR 2023, https://arxiv.org/abs/2211.11635) with ``bound='sigmoid'``, the image at 32 or 128 of 224 px;
EVP (Wu et al., "Unleashing the Power of Visual Prompting At the Pixel Level", https://arxiv.org/abs/2212.10556) with
``bound='none'``, the image at 164 of 224 px.
"""

from vptx.geometry import Geometry
from vptx.prompters.image import FramePrompter, PlacedPrompter, middle
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class ReprogramPrompter(PlacedPrompter, FramePrompter):
    """A frame around a small image: 3 * (H * W - side * side) numbers.

    Source: Elsayed et al., "Adversarial Reprogramming of Neural Networks", ICLR 2019, https://arxiv.org/abs/1806.11146.

    Args:
        side: pixels of a side of the small image.
        space: ``'symmetric'``, as Elsayed et al., ``'unit'`` or ``'normalised'``.
        bound: ``'tanh'``, as Elsayed et al., ``'sigmoid'`` or ``'none'``.
        init: ``'zero'``, ``'gaussian'`` or ``'normalised'``.
    """

    def __init__(self, side: int = 128, space: str = 'symmetric', bound: str = 'tanh', init: str = 'zero') -> None:
        super().__init__(side, space=space, bound=bound, init=init)

    def allocate(self, geometry: Geometry) -> None:
        self.margins = middle(self.side, self.size)
        super().allocate(geometry)
