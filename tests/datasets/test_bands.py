"""Files of several bands, read as they are."""

import sys

import numpy as np
import pytest
import tifffile
from mmcv.transforms import Resize

from vptx.datasets import LoadBands

BANDS = 5
VALUES = np.random.default_rng(0).integers(0, 10_000, (6, 7, BANDS)).astype(np.uint16)


def load(path, **options):
    return LoadBands(**{'channels': BANDS, **options})(dict(img_path=str(path)))


def contiguous(path, values=VALUES):
    tifffile.imwrite(path, values, photometric='minisblack', planarconfig='contig')


def planes(path, values=VALUES):
    tifffile.imwrite(path, np.moveaxis(values, 2, 0), photometric='minisblack', planarconfig='separate')


@pytest.mark.parametrize('write', [contiguous, planes])
def test_a_tiff_says_where_its_bands_are(write, tmp_path):
    write(tmp_path / 'a.tif')
    found = load(tmp_path / 'a.tif')
    assert np.array_equal(found['img'], VALUES) and found['img'].dtype == np.float32
    assert found['img_shape'] == found['ori_shape'] == (6, 7)


def test_a_tiff_of_pages_and_an_array_do_not_say_it(tmp_path):
    tifffile.imwrite(tmp_path / 'pages.tif', np.moveaxis(VALUES, 2, 0), photometric='minisblack')
    np.save(tmp_path / 'first.npy', np.moveaxis(VALUES, 2, 0))
    for name in ('pages.tif', 'first.npy'):
        assert np.array_equal(load(tmp_path / name, layout='first')['img'], VALUES)
        with pytest.raises(ValueError, match=rf"{name} has 7 bands of 5 x 6 px, .* expects 5: .* say layout='first'"):
            load(tmp_path / name)
    np.save(tmp_path / 'last.npy', VALUES)
    assert np.array_equal(load(tmp_path / 'last.npy')['img'], VALUES)
    with pytest.raises(ValueError, match=r"last\.npy has 6 bands of 7 x 5 px.* say layout='last'"):
        load(tmp_path / 'last.npy', layout='first')


def test_chosen_bands_in_the_order_that_is_asked(tmp_path):
    contiguous(tmp_path / 'a.tif')
    assert np.array_equal(load(tmp_path / 'a.tif', bands=[4, 3, 1])['img'], VALUES[..., [3, 2, 0]])


@pytest.mark.parametrize('name', ['a.tif', 'a.npy'])
def test_one_band(name, tmp_path):
    grey = VALUES[..., 0].astype(np.uint8)
    tifffile.imwrite(tmp_path / name, grey) if name == 'a.tif' else np.save(tmp_path / name, grey)
    found = load(tmp_path / name, channels=1)['img']
    assert np.array_equal(found[..., 0], grey) and found.shape == (6, 7, 1) and found.dtype == np.uint8


def test_resized_by_the_ordinary_transform(tmp_path):
    contiguous(tmp_path / 'a.tif', np.full((6, 7, 13), 1234, np.int16))
    found = Resize(scale=(4, 4))(load(tmp_path / 'a.tif', channels=13))
    assert found['img'].shape == (4, 4, 13) and (found['img'] == 1234).all()


def broken(path):
    path.write_bytes(b'II*\0 and no more')


def several(path):
    with tifffile.TiffWriter(path) as file:
        file.write(VALUES, photometric='minisblack', planarconfig='contig')
        file.write(VALUES[:3], photometric='minisblack', planarconfig='contig')


def text(path):
    path.write_text('no image')


BAD = {
    'number': (lambda path: contiguous(path, VALUES[..., :4]), 'has 4 bands of 6 x 7 px, and LoadBands expects 5'),
    'broken': (broken, 'cannot be read'),
    'several': (several, 'holds 2 images of several sizes or types'),
    'text': (text, 'cannot be read as a TIFF or .npy of bands'),
    'NaN': (lambda path: contiguous(path, np.full((6, 7, 5), np.nan, np.float32)), 'values that are not finite'),
    'complex': (lambda path: contiguous(path, VALUES.astype(np.complex64)), 'is no image: it is an array'),
    'volume': (lambda path: tifffile.imwrite(path, np.zeros((2, 3, 4, 5), np.uint8)), 'is no image: it is an array'),
}


@pytest.mark.parametrize('case', BAD)
def test_a_file_that_does_not_fit_is_named(case, tmp_path):
    write, message = BAD[case]
    write(tmp_path / 'bad.tif')
    with pytest.raises(ValueError, match=rf'bad\.tif.*{message}|{message}.*bad\.tif'):
        load(tmp_path / 'bad.tif')


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / 'bad.npy', np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r'bad\.npy'):
        load(tmp_path / 'bad.npy')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(channels=0), 'needs channels=, .* not 0'),
        (dict(layout='middle'), "layout must be one of 'last', 'first', not 'middle'"),
        (dict(bands=[]), r'bands=\[\] must be numbers from 1 to 5'),
        (dict(bands=[0, 1]), r'bands=\[0, 1\] must be numbers from 1 to 5'),
        (dict(bands=[6]), r'bands=\[6\] must be numbers'),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        LoadBands(**{'channels': 5, **options})


def test_without_tifffile(tmp_path, monkeypatch):
    contiguous(tmp_path / 'a.tif')
    monkeypatch.setitem(sys.modules, 'tifffile', None)
    with pytest.raises(ImportError, match=r"a\.tif is read by tifffile: pip install 'vptx\[bands\]'"):
        load(tmp_path / 'a.tif')
