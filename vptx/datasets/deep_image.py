"""Images of more than eight bits, scaled by a range that the config states."""

import numpy as np
from mmcv.transforms import LoadImageFromFile

from vptx.registry import TRANSFORMS

__all__ = ['LoadDeepImage']

_ANY_DEPTH_COLOUR = 3  # OpenCV's IMREAD_ANYDEPTH | IMREAD_COLOR; orientation tags are applied


@TRANSFORMS.register_module()
class LoadDeepImage(LoadImageFromFile):
    """Read an image of any bit depth: (H, W, 3) BGR float32, ``low`` to ``high`` mapped onto 0 to 255, not rounded.

        dict(type='LoadDeepImage', high=4095)      # 12 bits in a PNG or TIFF of 16

    The same range holds for all images, so that they stay comparable. Later transforms must take float32: resize with
    ``backend='cv2'``. Float TIFF is read by ``imdecode_backend='tifffile'``.

    Args:
        high: the value that becomes 255.
        low: the value that becomes 0.
        kwargs: of mmcv's ``LoadImageFromFile``, without ``color_type`` and ``to_float32``.

    Raises:
        ValueError: an empty range; a file that cannot be read, or with a value outside of the range.
    """

    def __init__(self, high: float, low: float = 0, **kwargs) -> None:
        if not low < high:
            raise ValueError(f'LoadDeepImage needs low < high, not low={low} and high={high}')
        super().__init__(color_type=_ANY_DEPTH_COLOUR, to_float32=True, **kwargs)
        self.low, self.high = low, high

    def transform(self, results: dict) -> dict | None:
        loaded = super().transform(results)
        if loaded is None:
            return None
        image = loaded['img']
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        least, most = image.min(), image.max()
        if not (self.low <= least and most <= self.high):  # NaN is neither
            raise ValueError(
                f'{results["img_path"]} has values from {least:g} to {most:g}, outside of low={self.low:g} to '
                f'high={self.high:g} of LoadDeepImage'
            )
        loaded['img'] = (image - np.float32(self.low)) * np.float32(255 / (self.high - self.low))
        return loaded
