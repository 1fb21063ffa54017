"""Images and masks of one's own: found, paired, and read as the config says."""

import logging
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from PIL import Image
from segruns import LABELS, LOAD, write_masks

from vptx.segmentation import CustomMasks

CLASSES = ('ground', 'disc')


def data(folder, pipeline=(LOAD, LABELS), **options) -> CustomMasks:
    with DefaultScope.overwrite_default_scope('mmseg'):
        return CustomMasks(data_root=str(folder), pipeline=list(pipeline), **{'classes': CLASSES, **options})


@pytest.fixture
def folder(tmp_path):
    return write_masks(tmp_path / 'data')


@pytest.fixture
def log(caplog):
    """Messages of MMEngine's current logger, which propagates none."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def is_red(item: dict) -> np.ndarray:
    """Where a loaded image (BGR) is of the second class; near edges JPEG is not sure."""
    return item['img'][..., 2].astype(int) - item['img'][..., 1] > 90


def agreement(dataset: CustomMasks) -> float:
    return np.mean([np.mean(is_red(dataset[i]) == (dataset[i]['gt_seg_map'] == 1)) for i in range(len(dataset))])


def test_classes_and_colours_come_from_the_config(folder):
    colours = [[1, 2, 3], [4, 5, 6]]
    for options in (
        dict(palette=colours),
        dict(classes=None, metainfo=dict(classes=CLASSES, palette=colours)),
        dict(classes=None, palette=colours, labels={0: 'ground', 1: 'disc'}),
        dict(classes=list(CLASSES), palette=colours, labels={1: 'disc', 0: 'ground'}),
    ):
        meta = data(folder, **options).metainfo
        assert list(meta['classes']) == list(CLASSES) and meta['palette'] == colours


def test_classes_may_be_a_file(folder):
    (folder / 'classes.txt').write_text('ground\ndisc\n')
    assert data(folder, classes=str(folder / 'classes.txt')).metainfo['classes'] == list(CLASSES)


def test_masks_are_classes(folder):
    assert len(data(folder)) == 4
    assert agreement(data(folder)) > 0.98
    assert agreement(data(folder, split='test')) > 0.98


@pytest.mark.parametrize('stored', [(0, 255), (1, 2), (7, 3)])
def test_other_labels_are_given_their_classes(tmp_path, stored):
    """With keys of text, too, as JSON and the command line have them."""
    folder = write_masks(tmp_path, labels=stored)
    for kind in (int, str):
        labels = {kind(label): name for label, name in zip(stored, CLASSES)}
        dataset = data(folder, labels=labels, classes=None)
        assert tuple(dataset.metainfo['classes']) == CLASSES
        assert agreement(dataset) > 0.98


def test_labels_of_one_class_and_of_none(folder):
    mask = folder / 'masks' / 'train' / '0.png'
    pixels = np.array([[0, 3, 4], [9, 255, 4]], np.uint8)
    Image.fromarray(pixels).save(mask)
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(folder / 'images' / 'train' / '0.jpg')
    dataset = data(folder, labels={0: 'ground', 1: 'ground', 3: 'disc', 4: 'disc', 9: None})
    assert dataset[0]['gt_seg_map'].tolist() == [[0, 1, 1], [255, 255, 1]]


def test_labels_may_stand_in_a_config(folder, tmp_path):
    text = f"dataset = dict(type='CustomMasks', data_root={str(folder)!r}, labels={{0: 'ground', 1: 'disc'}})"
    (tmp_path / 'config.py').write_text(text)
    config = Config.fromfile(tmp_path / 'config.py')
    config.dump(str(tmp_path / 'again.py'))
    for path in ('config.py', 'again.py'):
        options = dict(Config.fromfile(tmp_path / path).dataset, pipeline=[])
        options.pop('type')
        assert CustomMasks(**options).labels == {0: 0, 1: 1}


@pytest.mark.parametrize(
    ('labels', 'message'),
    [
        ({0: 'ground', 1: 'disk'}, r"labels={0: 'ground', 1: 'disk'} must say .* ground, disc"),
        ({-1: 'ground', 1: 'disc'}, 'from 0 on'),
        ({0: 'ground', 1: 'ground'}, 'has no label for disc'),
        ({'zero': 'ground', 1: 'disc'}, "labels of a mask are numbers, not .*'zero'"),
    ],
)
def test_labels_that_do_not_fit_the_classes(folder, labels, message):
    with pytest.raises(ValueError, match=message):
        data(folder, labels=labels)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(classes=None), r'classes have no names. Give classes=.* or labels='),
        (dict(classes='disc'), r"classes is the text 'disc'.*classes=\('disc',\)"),
        (dict(classes=('disc',)), r"one class, 'disc', leaves nothing to learn.*'background', 'disc'"),
        (dict(classes=('disc', 'disc')), "'disc' is there twice"),
        (dict(palette=[[0, 0, 0], [300, 0, 0]]), 'palette must have three numbers from 0 to 255 for each class'),
        (dict(palette=[[0, 0], [1, 1]]), 'palette must have three numbers'),
    ],
)
def test_classes_that_cannot_be(folder, options, message):
    with pytest.raises(ValueError, match=message):
        data(folder, **options)


@pytest.mark.parametrize(
    ('suffix', 'mask_suffix'),
    [('.JPG', '.png'), ('.jpeg', '.tif'), ('.png', '.png'), ('.PNG', '.PNG'), ('.tif', '.tif'), ('.webp', '.bmp')],
)
def test_images_of_any_suffix_are_found(tmp_path, suffix, mask_suffix):
    folder = write_masks(tmp_path, suffix=suffix, mask_suffix=mask_suffix, number=1)
    assert agreement(data(folder)) > 0.97


def test_folders_lists_and_suffixes_of_ones_own(tmp_path):
    write_masks(tmp_path, mask_suffix='_mask.png')
    (tmp_path / 'images' / 'train').rename(tmp_path / 'photographs')
    (tmp_path / 'masks' / 'train').rename(tmp_path / 'drawn')
    (tmp_path / 'some.txt').write_text('3\n1\n')
    prefix = dict(img_path='photographs', seg_map_path='drawn')
    dataset = data(tmp_path, data_prefix=prefix, seg_map_suffix='_mask.png', ann_file='some.txt')
    assert [Path(dataset.get_data_info(i)['img_path']).name for i in range(2)] == ['3.jpg', '1.jpg']
    assert agreement(dataset) > 0.98
    (tmp_path / 'some.txt').write_text('3\n1.jpg\n')
    with pytest.raises(
        ValueError, match=r'the list .*some\.txt names 1\.jpg, which is no image in .*without its suffix'
    ):
        data(tmp_path, data_prefix=prefix, seg_map_suffix='_mask.png', ann_file='some.txt')


def test_hidden_files_and_folders_are_passed_over_and_links_followed(folder):
    (folder / 'images' / 'train' / '.ipynb_checkpoints').mkdir()
    (folder / 'images' / 'train' / '.ipynb_checkpoints' / 'x.jpg').write_text('hidden')
    (folder / 'masks' / 'train' / '.0.png').write_text('hidden')
    for kind in ('images', 'masks'):
        (folder / kind / 'train' / 'more').symlink_to(folder / kind / 'val')
    assert len(data(folder)) == 8


def test_what_was_found_is_told(folder, log):
    with log.at_level(logging.INFO):
        data(folder)
    assert f"CustomMasks 'train': 4 images with masks in {folder}; classes: ground, disc" in log.text


def test_missing_masks_and_images_are_named(folder):
    (folder / 'masks' / 'train' / '1.png').rename(folder / 'masks' / 'train' / '1_mask.png')
    with pytest.raises(
        FileNotFoundError, match=r"CustomMasks' train: 1 of 4 images have no mask .*train/1\.jpg.*there are 4 \.png"
    ):
        data(folder)
    (folder / 'masks' / 'val' / '9.png').write_text('left over')
    with pytest.raises(FileNotFoundError, match=r"CustomMasks' val: 1 masks have no image of their name.*val/9\.png"):
        data(folder, split='val')


def test_a_split_without_anything_says_what_was_looked_for(folder):
    with pytest.raises(
        FileNotFoundError, match=rf"CustomMasks' more: there is no folder {folder}/images/more\. Images lie"
    ):
        data(folder, split='more')
    (folder / 'images' / 'none').mkdir()
    (folder / 'masks' / 'none').mkdir()
    (folder / 'images' / 'none' / 'a.heic').write_text('')
    with pytest.raises(ValueError, match=r'no images in .*/images/none\. Looked for \.bmp, .*there are 1 \.heic'):
        data(folder, split='none')


def test_two_images_of_one_name_are_refused(folder):
    Image.new('RGB', (24, 32)).save(folder / 'images' / 'train' / '0.png')
    with pytest.raises(ValueError, match=r'train/0\.jpg and 0\.png have the same name'):
        data(folder)
    assert len(data(folder, img_suffix='.jpg')) == 4


def test_masks_saved_as_jpeg_are_refused(tmp_path):
    folder = write_masks(tmp_path, mask_suffix='.jpg')
    with pytest.raises(ValueError, match=r"CustomMasks' train: the masks in .* are JPEG files .*0\.jpg.*as PNG"):
        data(folder)
    (folder / 'masks' / 'train' / '0.jpg').rename(folder / 'masks' / 'train' / '0.png')
    with pytest.raises(ValueError, match=r'0\.png is a JPEG file, and JPEG changes labels'):
        data(folder, img_suffix='0.jpg', seg_map_suffix='0.png')
