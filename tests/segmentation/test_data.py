"""Data that is not there, or not as it must be: one error that names the file."""

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from mmseg.registry import METRICS, TRANSFORMS
from PIL import Image
from segruns import LABELS, LOAD, TinySeg, write_images

from vptx.registry import DATASETS
from vptx.segmentation import CheckedIoUMetric, CheckedLoadAnnotations, MiniADE


def data(folder, pipeline=(LOAD, LABELS), **options):
    prefix = dict(img_path='images/training', seg_map_path='annotations/training')
    with DefaultScope.overwrite_default_scope('mmseg'):
        return TinySeg(data_root=str(folder), data_prefix=prefix, pipeline=list(pipeline), **options)


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / 'data', number=2)


def test_labels_begin_at_one_in_the_file_and_at_zero_here(folder):
    item = data(folder)[0]
    stored = np.asarray(Image.open(item['seg_map_path']))
    assert np.array_equal(item['gt_seg_map'] + 1, stored)
    assert set(np.unique(stored)) == {1, 2, 3, 4}


@pytest.mark.parametrize('kind', ['ADE20K', 'PascalContext', 'MiniADE'])
def test_missing_data_says_how_to_get_it(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match=rf'no {kind}: there is no {tmp_path}/i.*(Download|make-mini-ade)'):
        DATASETS.get(kind)(data_root=str(tmp_path), data_prefix=dict(img_path='i', seg_map_path='a'))


def test_no_image_at_all(folder):
    for path in (folder / 'images' / 'training').iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r'TinySeg: no images, no \.png in .*images/training\. Write it'):
        data(folder)


def test_an_image_without_a_mask_is_named(folder):
    (folder / 'annotations' / 'training' / '1.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 2 images have no mask: no .*/training/1\.png\. Write it'):
        data(folder)


def test_a_mask_without_an_image_is_named(folder):
    (folder / 'images' / 'training' / '0.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 masks have no image: .*annotations.*/0\.png\. Write it'):
        data(folder)


def bad(folder, pixels=None, content=b''):
    path = folder / 'annotations' / 'training' / '0.png'
    if pixels is None:
        path.write_bytes(content)
    else:
        Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize('content', [b'', b'text', b'\x89PNG\r\n\x1a\n broken'])
def test_an_unreadable_mask_is_named(folder, content):
    path = bad(folder, content=content)
    with pytest.raises(ValueError, match=f'{path} cannot be read as a mask'):
        data(folder)[0]


def test_a_mask_of_another_size_is_named_with_its_image(folder):
    path = bad(folder, np.ones((16, 32), np.uint8))
    with pytest.raises(ValueError, match=rf'{path} has 16 x 32 pixels, its image .*images/training/0\.png has 32 x 32'):
        data(folder)[0]


def test_the_size_is_that_of_the_file_after_the_image_was_resized(folder):
    resized = [LOAD, dict(type='Resize', scale=(16, 16)), LABELS]
    assert data(folder, resized)[0]['gt_seg_map'].shape == (32, 32)


def test_a_coloured_mask_is_named(folder):
    path = bad(folder, np.ones((32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=f'{path} is no mask: .* one channel'):
        data(folder)[0]


def test_labels_out_of_range_are_named(folder):
    mask = np.ones((32, 32), np.uint8)
    mask[0, 0], mask[5, 5], mask[6, 6], mask[7, 7] = 0, 255, 5, 151
    path = bad(folder, mask)
    message = rf'{path} holds labels that are no classes: 5, 151 \(.*are 1 to 4; no class is 0, 255'
    with pytest.raises(ValueError, match=message):
        data(folder)
    with pytest.raises(ValueError, match=r'no classes: 5, 151 \(all.*: 0, 1, 5, .* are 0 to 3; no class is 255'):
        data(folder, reduce_zero_label=False)


def test_wide_labels_are_not_cut_to_eight_bits(folder):
    mask = np.ones((32, 32), np.uint16)
    path = bad(folder, mask)
    assert (data(folder)[0]['gt_seg_map'] == 0).all()
    mask[0, 0] = 256 + 2
    bad(folder, mask)
    with pytest.raises(ValueError, match=rf'{path} holds labels that are no classes: 258 '):
        data(folder)


@pytest.mark.parametrize(('value', 'right'), [(2.0, True), (1.5, False), (np.nan, False)])
def test_labels_are_whole_numbers(folder, value, right):
    path = folder / 'annotations' / 'training' / '0.tif'
    for name in ('0', '1'):
        path.with_name(f'{name}.png').unlink()
        Image.fromarray(np.full((32, 32), value, np.float32)).save(path.with_name(f'{name}.tif'))
    if right:
        assert (data(folder, seg_map_suffix='.tif')[0]['gt_seg_map'] == 1).all()
    else:
        with pytest.raises(ValueError, match=r'0\.tif is no mask: labels are whole numbers'):
            data(folder, seg_map_suffix='.tif')


def test_a_mask_one_pixel_wide(folder):
    for name in ('0', '1'):
        Image.new('RGB', (1, 32)).save(folder / 'images' / 'training' / f'{name}.png')
        Image.new('L', (1, 32), 1).save(folder / 'annotations' / 'training' / f'{name}.png')
    assert data(folder)[0]['gt_seg_map'].shape == (32, 1)


def test_mini_ade_takes_some_of_its_classes_and_no_others(tmp_path):
    names = [*MiniADE.METAINFO['classes'][3:5]]
    options = dict(data_root=str(tmp_path), lazy_init=True, pipeline=[])
    assert MiniADE(metainfo=dict(classes=names), **options).metainfo['palette'] == MiniADE.METAINFO['palette'][3:5]
    with pytest.raises(ValueError, match='is not a subset of classes'):
        MiniADE(metainfo=dict(classes=['ground', 'disc']), **options)


def test_stock_configs_find_the_checked_loading():
    assert TRANSFORMS.get('LoadAnnotations') is CheckedLoadAnnotations
    assert METRICS.get('IoUMetric') is CheckedIoUMetric
