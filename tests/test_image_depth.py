"""Nothing of an image is dropped without a word."""

import cv2
import numpy as np
import pytest
import tifffile
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from vptx.datasets import LoadDeepImage
from vptx.image_depth import read_depth

PIXELS = np.random.default_rng(0).integers(0, 4095, (16, 12, 3)).astype(np.uint16)


def load(path, **options):
    return LoadImageFromFile(**options)(dict(img_path=str(path)))['img']


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.ppm'])
def test_sixteen_bits_are_not_cut_to_eight(tmp_path, name, backend):
    cv2.imwrite(str(tmp_path / name), PIXELS)
    assert read_depth(tmp_path / name).bits == 16
    with pytest.raises(ValueError, match=rf'{name} cannot be read as it is: .*16-bit.*LoadDeepImage'):
        load(tmp_path / name, imdecode_backend=backend)


@pytest.mark.parametrize('name', ['a.png', 'a.tif'])
def test_they_are_read_whole(tmp_path, name):
    cv2.imwrite(str(tmp_path / name), PIXELS)
    assert np.array_equal(load(tmp_path / name, color_type='unchanged'), PIXELS)
    scaled = LoadDeepImage(high=4095)(dict(img_path=str(tmp_path / name)))
    np.testing.assert_allclose(scaled['img'], PIXELS * (255 / 4095), rtol=1e-6)
    assert scaled['img'].dtype == np.float32 and scaled['img_shape'] == (16, 12)


def test_a_range_that_does_not_hold_is_told(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), PIXELS)
    with pytest.raises(ValueError, match=r'a\.png has values from \d+ to \d+, outside of low=0 to high=255'):
        LoadDeepImage(high=255)(dict(img_path=str(tmp_path / 'a.png')))
    with pytest.raises(ValueError, match='low < high'):
        LoadDeepImage(high=0)


def test_floats(tmp_path):
    values = np.random.default_rng(0).normal(size=(16, 12)).astype(np.float32)
    tifffile.imwrite(tmp_path / 'a.tif', values)
    with pytest.raises(ValueError, match=r'32-bit float values.*tifffile'):
        load(tmp_path / 'a.tif')
    found = LoadDeepImage(low=-5, high=5, imdecode_backend='tifffile')(dict(img_path=str(tmp_path / 'a.tif')))['img']
    np.testing.assert_allclose(found, np.repeat((values[..., None] + 5) * 25.5, 3, 2), atol=1e-4)


@pytest.mark.parametrize('bands', [4, 5, 13])
@pytest.mark.parametrize('color_type', ['color', 'unchanged'])
def test_bands_side_by_side(tmp_path, bands, color_type):
    """OpenCV reads one of four, without a word, and says of five that it is no image."""
    pixels = np.random.default_rng(0).integers(0, 255, (16, 12, bands)).astype(np.uint8)
    tifffile.imwrite(tmp_path / 'a.tif', pixels, photometric='minisblack', planarconfig='contig')
    with pytest.raises(ValueError, match=rf"a\.tif .* TIFF of {bands} bands of 8-bit.*LoadBands', channels={bands}"):
        load(tmp_path / 'a.tif', color_type=color_type)
    assert np.array_equal(load(tmp_path / 'a.tif', color_type='unchanged', imdecode_backend='tifffile'), pixels)


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'LA', 'RGB', 'RGBA', 'CMYK'])
@pytest.mark.parametrize('suffix', ['.tif', '.png', '.jpg'])
def test_images_of_eight_bits_are_read_as_before(tmp_path, mode, suffix):
    if (suffix, mode) in {('.png', 'CMYK'), ('.jpg', 'P'), ('.jpg', 'LA'), ('.jpg', 'RGBA')}:
        mode = 'RGB'
    path = tmp_path / f'a{suffix}'
    Image.fromarray((PIXELS // 16).astype(np.uint8)).convert(mode).save(path)
    assert np.array_equal(load(path), cv2.imread(str(path)))
