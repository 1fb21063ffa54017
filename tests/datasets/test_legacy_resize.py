"""The kernel of TensorFlow 1, worked out by hand: position = i * input / output, no half pixel, no smoothing."""

import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS

from vptx.datasets.legacy_resize import legacy_resize


def row(*values: float) -> np.ndarray:
    """(1, n, 1) uint8"""
    return np.array(values, np.uint8)[None, :, None]


@pytest.mark.parametrize(
    ('values', 'size', 'expected'),
    [
        # positions 0, 1/2, 1, 3/2; what lies behind the last pixel is the last pixel
        ((10, 30), 4, (10, 20, 30, 30)),
        # 0, 3/4, 3/2, 9/4
        ((0, 40, 80), 4, (0, 30, 60, 80)),
        # 0, 5/3, 10/3: pixels are skipped, not averaged
        ((0, 30, 60, 90, 120), 3, (0, 50, 100)),
        # 0, 2: every other pixel, whatever stands between them
        ((7, 255, 9, 255), 2, (7, 9)),
        ((1, 2, 3), 3, (1, 2, 3)),
    ],
)
def test_a_row(values, size, expected):
    assert legacy_resize(row(*values), 1, size)[0, :, 0] == pytest.approx(expected, abs=1e-4)
    assert legacy_resize(row(*values).transpose(1, 0, 2), size, 1)[:, 0, 0] == pytest.approx(expected, abs=1e-4)


def test_a_square_with_fractions_that_are_kept():
    image = np.array([[0, 1], [2, 4]], np.uint8)[..., None].repeat(3, 2)
    resized = legacy_resize(image, 4, 4)
    assert resized.dtype == np.float32
    expected = [[0, 0.5, 1, 1], [1, 1.75, 2.5, 2.5], [2, 3, 4, 4], [2, 3, 4, 4]]
    for channel in range(3):
        assert resized[..., channel] == pytest.approx(np.array(expected))


def test_a_small_image_is_shifted_by_three_pixels():
    """32 px to 224 px: input pixel 16 is at 112, where kernels with half pixels have it at 115."""
    image = np.zeros((32, 32, 1), np.uint8)
    image[16, 16] = 255
    resized = legacy_resize(image, 224, 224)[..., 0]
    assert np.unravel_index(resized.argmax(), resized.shape) == (112, 112)
    assert resized.max() == 255


def test_as_a_transform():
    resize = TRANSFORMS.build(dict(type='LegacyResize', scale=6))
    results = resize(dict(img=np.zeros((2, 9, 3), np.uint8)))
    assert results['img'].shape == (6, 6, 3) and results['img_shape'] == (6, 6)
    assert repr(resize) == 'LegacyResize(scale=6)'
