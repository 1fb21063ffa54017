"""Validation images come out of the training split; what is missing is named, with the way to get it."""

import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from mmpretrain.datasets import utils

from vptx.datasets import HoldoutCIFAR10, HoldoutCIFAR100, HoldoutCUB


@pytest.fixture
def birds(tmp_path) -> Path:
    """CUB-200-2011 in small: 60 images sorted by class, of which every third is for testing."""
    lines = {
        'images.txt': [f'{i + 1} {i // 20:03}.Bird/{i}.jpg' for i in range(60)],
        'image_class_labels.txt': [f'{i + 1} {i // 20 + 1}' for i in range(60)],
        'train_test_split.txt': [f'{i + 1} {int(i % 3 > 0)}' for i in range(60)],
    }
    for name, rows in lines.items():
        (tmp_path / name).write_text('\n'.join(rows))
    return tmp_path


def paths(root: Path, split: str) -> list[str]:
    data = HoldoutCUB(data_root=str(root), split=split)
    return [data.get_data_info(i)['img_path'] for i in range(len(data))]


def test_splits(birds):
    train, val, both, test = (paths(birds, split) for split in HoldoutCUB.SPLITS)
    assert len(train) == 36 and len(val) == 4 and len(test) == 20
    assert sorted(train + val) == sorted(both)
    assert not set(both) & set(test) and not set(train) & set(val)


def test_sizes_are_those_of_the_paper():
    rows = range(5994)
    assert len(rows[:: HoldoutCUB.EVERY]) == 600


def test_unknown_split(birds):
    with pytest.raises(ValueError, match="'train', 'val', 'trainval', 'test', got 'validation'"):
        HoldoutCUB(data_root=str(birds), split='validation')


def test_empty_split(birds):
    lines = (birds / 'train_test_split.txt').read_text()
    (birds / 'train_test_split.txt').write_text(lines.replace(' 0', ' 1'))
    with pytest.raises(ValueError, match="empty 'test'"):
        HoldoutCUB(data_root=str(birds), split='test')


@pytest.mark.parametrize('missing', ['images.txt', 'image_class_labels.txt', 'train_test_split.txt'])
def test_missing_birds(birds, missing):
    (birds / missing).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        HoldoutCUB(data_root=str(birds))
    for part in (missing, str(birds.absolute()), 'https://data.caltech.edu', 'CUB_200_2011.tgz'):
        assert part in str(caught.value)


def test_missing_cifar_without_a_network(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise URLError('Name or service not known')

    monkeypatch.setattr(utils, 'download_url_to_file', no_network)
    with pytest.raises(FileNotFoundError) as caught:
        HoldoutCIFAR100(data_root=str(tmp_path / 'cifar100'))
    for part in ('Name or service not known', str(tmp_path / 'cifar100'), 'cifar-100-python.tar.gz'):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ('kind', 'file', 'labels'),
    [
        (HoldoutCIFAR100, 'cifar-100-python/train', 'fine_labels'),
        (HoldoutCIFAR10, 'cifar-10-batches-py/data_batch_1', 'labels'),
    ],
)
def test_cifar_items_are_bgr(tmp_path, monkeypatch, kind, file, labels):
    monkeypatch.setattr(kind, '_check_integrity', lambda self: True)
    monkeypatch.setattr(kind, 'train_list', [[file.rpartition('/')[2], '']])
    (tmp_path / file).parent.mkdir()
    red = np.stack([np.full(1024, 255), np.zeros(1024), np.zeros(1024)]).reshape(1, -1).astype(np.uint8)
    (tmp_path / file).write_bytes(pickle.dumps({'data': np.repeat(red, 20, 0), labels: [*range(10)] * 2}))
    data = kind(data_root=str(tmp_path), split='val')
    assert [data[i]['gt_label'] for i in range(len(data))] == [0, 0]
    assert data[0]['img'][0, 0].tolist() == [0, 0, 255]
