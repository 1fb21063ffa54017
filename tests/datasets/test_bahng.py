"""SVHN, RESISC45 and CLEVR in small: labels, splits, and what is said of files that are not theirs."""

import json

import numpy as np
import pytest
from scipy.io import savemat

from vptx.datasets import RESISC45, SVHN, CLEVRCount


def items(data):
    return [(item['img_path'], item['gt_label']) for item in (data.get_data_info(i) for i in range(len(data)))]


def write_svhn(folder, number, name='train', **changes):
    images = np.zeros((32, 32, 3, number), np.uint8)
    images[..., 0, :] = np.arange(number)  # red
    savemat(folder / f'{name}_32x32.mat', dict(dict(X=images, y=np.arange(1, number + 1)[:, None] % 10 + 1), **changes))


def test_svhn(tmp_path):
    write_svhn(tmp_path, 20)
    write_svhn(tmp_path, 5, 'test')
    data = {split: SVHN(str(tmp_path), split) for split in ('train', 'val', 'trainval', 'test')}
    assert [len(data[split]) for split in data] == [18, 2, 20, 5]
    assert [data['val'][i]['img'][0, 0].tolist() for i in range(2)] == [[0, 0, 5], [0, 0, 15]]  # BGR
    assert data['trainval'].get_gt_labels().tolist()[7:10] == [9, 0, 1]  # 10 is the digit 0


def test_bad_files_of_svhn(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'SVHN: there is no .*train_32x32\.mat\. Get it from http'):
        SVHN(str(tmp_path))
    write_svhn(tmp_path, 5, X=np.zeros((28, 28, 3, 5), np.uint8))
    with pytest.raises(ValueError, match=r'train_32x32\.mat is not of SVHN: X is uint8 \(5, 28, 28, 3\)'):
        SVHN(str(tmp_path))
    (tmp_path / 'train_32x32.mat').write_bytes(b'no matrix')
    with pytest.raises(ValueError, match=r'train_32x32\.mat cannot be read: truncated, or not of SVHN'):
        SVHN(str(tmp_path))


def test_resisc45(tmp_path):
    names = [f'kind_{i:02}_of' for i in range(45)]
    for part, number in (('train', 2), ('val', 1), ('test', 1)):
        lines = [f'{name}_{part[0]}{i}.jpg' for i in range(number) for name in names]
        (tmp_path / f'resisc45-{part}.txt').write_text('\n'.join(lines))
    data = {split: RESISC45(str(tmp_path), split) for split in RESISC45.SPLITS}
    assert [len(data[split]) for split in ('train', 'val', 'trainval', 'test')] == [90, 45, 135, 45]
    assert items(data['test'])[3] == (str(tmp_path / 'NWPU-RESISC45/kind_03_of/kind_03_of_t0.jpg'), 3)
    assert data['test'].metainfo['classes'][3] == 'kind 03 of'
    (tmp_path / 'resisc45-val.txt').write_text('airport_001.jpg')
    with pytest.raises(
        ValueError, match=r"resisc45-val\.txt, line 1: 'airport_001\.jpg' is no image of a class of train"
    ):
        RESISC45(str(tmp_path), 'val')
    (tmp_path / 'resisc45-train.txt').write_text('airport_001.jpg')
    with pytest.raises(ValueError, match=r'resisc45-train\.txt has 1 classes, not 45'):
        RESISC45(str(tmp_path))


def write_clevr(folder, part, counts):
    scenes = [dict(image_filename=f'CLEVR_{i:06}.png', objects=[{}] * count) for i, count in enumerate(counts)]
    (folder / 'scenes').mkdir(exist_ok=True)
    (folder / 'scenes' / f'CLEVR_{part}_scenes.json').write_text(json.dumps(dict(scenes=scenes)))


def test_clevr(tmp_path):
    write_clevr(tmp_path, 'train', [3, 4, 5, 6, 7, 10] * 4)
    write_clevr(tmp_path, 'val', [9, 3])
    data = {split: CLEVRCount(str(tmp_path), split) for split in CLEVRCount.SPLITS}
    assert [len(data[split]) for split in ('train', 'val', 'trainval', 'test')] == [22, 2, 24, 2]
    assert items(data['val'])[0] == (str(tmp_path / 'images/train/CLEVR_000005.png'), 7)
    assert data['test'].metainfo['classes'][items(data['test'])[0][1]] == '9'
    write_clevr(tmp_path, 'val', [2])
    with pytest.raises(ValueError, match=r'CLEVR_val_scenes\.json: CLEVR_000000\.png has 2 objects, not 3 to 10'):
        CLEVRCount(str(tmp_path), 'test')
    (tmp_path / 'scenes' / 'CLEVR_val_scenes.json').write_text('{"scenes": [1]}')
    with pytest.raises(ValueError, match=r'CLEVR_val_scenes\.json has no scenes of CLEVR'):
        CLEVRCount(str(tmp_path), 'test')
