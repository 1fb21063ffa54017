import numpy as np
import pytest
from PIL import Image

from vptx.datasets.mini import scenes


def test_the_arguments_say_all():
    first, again = scenes.compose('train', 3, 64), scenes.compose('train', 3, 64)
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    for other in (('train', 4, 64), ('val', 3, 64), ('test', 3, 64), ('train', 3, 64, 1)):
        assert not np.array_equal(scenes.compose(*other)[1], first[1])


def test_every_pixel_has_a_class_and_every_class_occurs():
    found = np.zeros(13, int)
    for index in range(60):
        image, mask = scenes.compose('val', index, 64)
        assert image.shape == (64, 64, 3) and mask.shape == (64, 64) and image.dtype == mask.dtype == np.uint8
        found += np.bincount(mask.ravel(), minlength=13)
    assert len(found) == 13 and found[0] == 0
    assert (found[1:] / found.sum() > 0.01).all()


@pytest.mark.parametrize('name', scenes.GROUND)
def test_no_pixel_of_a_photograph_is_in_two_splits(name):
    with (scenes.files('skimage') / 'data' / scenes.GROUND[name]).open('rb') as file:
        width, height = Image.open(file).size
    numbered = np.arange(width * height).reshape(height, width)
    regions = [scenes.region(numbered, split) for split in scenes.SPLITS]
    assert [scenes.photograph(name, split).shape for split in scenes.SPLITS] == [region.shape for region in regions]
    assert all(min(region.shape) > 128 for region in regions)
    pixels = np.concatenate([region.ravel() for region in regions])
    assert len(np.unique(pixels)) == len(pixels) > 0.95 * numbered.size


def test_unknown_split():
    with pytest.raises(ValueError, match="split must be one of 'train', 'val', 'test', got 'all'"):
        scenes.compose('all', 0)


def test_the_tool_writes_ade20ks_layout(tmp_path, start):
    pytest.importorskip('mmseg')
    from vptx.segmentation import MiniADE

    out = tmp_path / 'mini'
    few = ['--train', 3, '--val', 2, '--test', 1, '--size', 48]
    status, output = start('make_mini_ade', '--out', out, *few, log=tmp_path / 'log')
    assert status == 0 and f'{out}: 3 + 2 + 1 images of 48 x 48 pixels, 12 classes' in output
    for split, number in (('training', 3), ('validation', 2), ('testing', 1)):
        data = MiniADE(
            data_root=str(out), data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'annotations/{split}')
        )
        assert len(data) == number and data.metainfo['classes'] == scenes.CLASSES
    _, mask = scenes.compose('train', 2, 48)
    written = np.asarray(Image.open(out / 'annotations' / 'training' / 'ADE_train_00000003.png'))
    assert np.array_equal(written, mask)
    status, output = start('make_mini_ade', '--out', out, log=tmp_path / 'log')
    assert status == 1 and 'is not empty: remove it, or give another --out' in output
