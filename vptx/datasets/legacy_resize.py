"""The resize of Jia et al. 2022 for VTAB-1k: TensorFlow 1's bilinear kernel, which no other library has.

Pixel centres are not where they are elsewhere (half_pixel_centers=False), and nothing is smoothed before an image is
made smaller: output pixel i of n looks at input position i * m / n, between floor(i * m / n) and the one after it. On
32 px images resized to 224 px, that is a shift of three pixels against every other resize.
"""

import numpy as np
from mmcv.transforms import BaseTransform

from vptx.registry import TRANSFORMS

__all__ = ['LegacyResize', 'legacy_resize']


def legacy_resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, C) -> (height, width, C) float32, in the range of the input, not rounded."""
    image = image.astype(np.float32)
    for axis, size in ((0, height), (1, width)):
        length = image.shape[axis]
        if length == size:
            continue
        position = np.arange(size, dtype=np.float32) * np.float32(length / size)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, length - 1)
        share = (position - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(image.ndim)])
        before, after = image.take(low, axis), image.take(high, axis)
        image = before + (after - before) * share
    return image


@TRANSFORMS.register_module()
class LegacyResize(BaseTransform):
    """Resize ``img`` to a square by ``legacy_resize``; its aspect is not kept.

    Args:
        scale: height and width, in pixels.
    """

    def __init__(self, scale: int) -> None:
        self.scale = scale

    def transform(self, results: dict) -> dict:
        results['img'] = legacy_resize(results['img'], self.scale, self.scale)
        results['img_shape'] = (self.scale, self.scale)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(scale={self.scale})'
