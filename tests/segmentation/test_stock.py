"""mmsegmentation's own data sets are checked before a run, too."""

import numpy as np
import pytest
from mmengine.dataset import ConcatDataset
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmseg.datasets import ADE20KDataset, BaseSegDataset
from PIL import Image
from segruns import LABELS, LOAD, write_masks

from vptx.segmentation import colours

META = dict(classes=('ground', 'disc'), palette=[[0, 0, 0], [220, 40, 40]])
IGNORED = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')


def data(folder, pipeline=(LOAD, LABELS), split='train', kind=BaseSegDataset, **options):
    prefix = dict(img_path=f'images/{split}', seg_map_path=f'masks/{split}')
    with DefaultScope.overwrite_default_scope('mmseg'):
        return kind(data_root=str(folder), data_prefix=prefix, pipeline=list(pipeline), **{'metainfo': META, **options})


@pytest.fixture
def log(caplog):
    """Messages of MMEngine's current logger, which propagates none."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def agreement(dataset) -> float:
    """Share of pixels whose class is the one that their colour shows."""
    items = [dataset[i] for i in range(len(dataset))]
    red = [item['img'][..., 2].astype(int) - item['img'][..., 1] > 90 for item in items]
    return np.mean([np.mean(pixels == (item['gt_seg_map'] == 1)) for pixels, item in zip(red, items)])


def test_labels_that_are_no_class_are_found_before_the_run(tmp_path):
    folder = write_masks(tmp_path, labels=(1, 2))
    message = (
        r'masks/train/0\.png holds labels that are no classes: 2 \(all of its labels: 1, 2\)\. '
        r"The 2 classes \(ground, disc\) are 0 to 1; no class is 255\. .*labels={1: 'ground', 2: 'disc'} of the data"
    )
    with pytest.raises(ValueError, match=message):
        data(folder)
    assert agreement(data(folder, reduce_zero_label=True)) > 0.98


def test_a_few_masks_are_read_before_the_run_and_all_when_their_turn_comes(tmp_path, monkeypatch):
    folder = write_masks(tmp_path)
    monkeypatch.setattr('vptx.segmentation.stock.SAMPLE', 2)
    Image.new('L', (24, 32), 9).save(folder / 'masks' / 'train' / '1.png')
    dataset = data(folder)
    with pytest.raises(ValueError, match=r'train/1\.png holds labels that are no classes: 9'):
        dataset[1]


def test_labels_of_a_subset_of_known_classes(tmp_path):
    """Its file holds labels of all 150."""
    folder = write_masks(tmp_path, labels=(3, 150))
    dataset = data(folder, kind=ADE20KDataset, metainfo=dict(classes=('sky', 'flag')), reduce_zero_label=True)
    assert agreement(dataset) > 0.98 and dataset.metainfo['palette'] == [[6, 230, 230], [92, 0, 255]]
    write_masks(tmp_path, labels=(3, 151))
    with pytest.raises(
        ValueError, match=r'no classes: 151 .* \(sky, flag\) are 3, 150; no class is 0 to 2, 4 to 149, 255'
    ):
        data(folder, kind=ADE20KDataset, metainfo=dict(classes=('sky', 'flag')), reduce_zero_label=True)


def test_masks_of_0_and_255_leave_nothing_to_learn(tmp_path):
    dataset = data(write_masks(tmp_path, labels=(0, 255)))
    message = r"4 masks hold 'ground', and the label 255, .*CustomMasks with labels={0: 'ground', 255: 'disc'}"
    with pytest.raises(ValueError, match=message):
        dataset.check_learnable()
    data(write_masks(tmp_path / 'right')).check_learnable()


def test_masks_of_one_class_leave_nothing_to_learn(tmp_path):
    dataset = data(write_masks(tmp_path, labels=(1, 1)))
    with pytest.raises(ValueError, match=r"4 masks hold 'disc'\. There is nothing to learn.* Are the masks those of"):
        dataset.check_learnable()


@pytest.mark.parametrize('suffix', ['.png', '.JPG'])
def test_images_of_another_suffix_are_told(tmp_path, suffix):
    folder = write_masks(tmp_path, suffix=suffix)
    with pytest.raises(
        ValueError, match=rf"no \.jpg in {folder}/images/train; there are 4 \{suffix}: img_suffix='\{suffix}'"
    ):
        data(folder)
    assert len(data(folder, img_suffix=suffix)) == 4


def test_what_is_missing_is_found_before_the_run(tmp_path):
    folder = write_masks(tmp_path)
    (folder / 'masks' / 'train' / '2.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 4 images have no mask: no .*masks/train/2\.png'):
        data(folder)
    (folder / 'list.txt').write_text('0\n7\n')
    with pytest.raises(FileNotFoundError, match=r'1 of 2 images are not there: no .*images/train/7\.jpg'):
        data(folder, ann_file='list.txt')
    (folder / 'list.txt').write_text('')
    with pytest.raises(ValueError, match=r'no images, listed in .*list\.txt'):
        data(folder, ann_file='list.txt')
    with pytest.raises(FileNotFoundError, match=r'no BaseSegDataset: there is no .*images/more'):
        data(folder, split='more')


def test_images_without_masks_are_no_fault_where_none_are_read(tmp_path):
    folder = write_masks(tmp_path)
    prefix = dict(img_path='images/train')
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert len(BaseSegDataset(data_root=str(folder), data_prefix=prefix, pipeline=[LOAD], metainfo=META)) == 4


def test_one_class_is_refused(tmp_path):
    with pytest.raises(ValueError, match="one class, 'disc', leaves nothing to learn"):
        data(write_masks(tmp_path), metainfo=dict(classes=('disc',)))


def test_colours_are_chosen_where_none_are_given(tmp_path):
    assert data(tmp_path, metainfo=dict(classes=('a', 'b', 'c')), lazy_init=True).metainfo['palette'] == colours(3)
    assert data(tmp_path, lazy_init=True).metainfo['palette'] == META['palette']
    made = np.array(colours(30))
    apart = np.abs(made[:, None] - made[None]).sum(-1) + 1000 * np.eye(30)
    assert apart.min() > 40 and colours(5) == colours(30)[:5]
    assert np.abs(made[:8, None] - made[None, :8]).sum(-1)[~np.eye(8, dtype=bool)].min() > 150


@pytest.mark.parametrize('tag', [2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize('suffix', ['.jpg', '.png', '.tif'])
def test_a_mask_is_turned_as_its_image_is(tmp_path, tag, suffix, log):
    """Whether the image is turned by its tag or not, and whether the mask was drawn before or after."""
    stored = write_masks(tmp_path / 'stored', tag=tag, suffix=suffix, number=2)
    assert agreement(data(stored, img_suffix=suffix)) > 0.98
    assert agreement(data(stored, [IGNORED, LABELS], img_suffix=suffix)) > 0.98
    assert '2 of the 2 images that were looked at have an orientation tag' in log.text
    displayed = write_masks(tmp_path / 'displayed', tag=tag, suffix=suffix, displayed=True, number=2)
    assert agreement(data(displayed, [LOAD, dict(LABELS, drawn_on='displayed')], img_suffix=suffix)) > 0.98


def test_a_size_that_an_orientation_tag_explains(tmp_path):
    displayed = write_masks(tmp_path / 'displayed', tag=6, displayed=True)
    message = (
        r"0\.png has 24 x 32 pixels, its image .*0\.jpg has 32 x 24\. .* the orientation tag 6.*drawn_on='displayed'"
    )
    with pytest.raises(ValueError, match=message):
        data(displayed)
    stored = write_masks(tmp_path / 'stored', tag=6)
    with pytest.raises(ValueError, match=r"orientation tag 6.*leave LoadAnnotations' drawn_on='displayed' out"):
        data(stored, [LOAD, dict(LABELS, drawn_on='displayed')])
    with pytest.raises(ValueError, match='orientation tag 6, which its loading ignores'):
        data(displayed, [IGNORED, dict(LABELS, drawn_on='displayed')])
    with pytest.raises(ValueError, match=r"drawn_on must be 'stored' or 'displayed', not 'paper'"):
        data(stored, [LOAD, dict(LABELS, drawn_on='paper')])


def test_what_is_put_together_is_checked_part_by_part(tmp_path):
    right, wrong = write_masks(tmp_path / 'right'), write_masks(tmp_path / 'wrong', labels=(1, 2))
    assert len(ConcatDataset([data(right), data(right, split='val')])) == 8
    with pytest.raises(ValueError, match=r'wrong/masks/train/0\.png holds labels'):
        ConcatDataset([data(right), data(wrong)])
