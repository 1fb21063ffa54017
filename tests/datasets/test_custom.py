"""Images of one's own, as folders and as tables."""

from pathlib import Path

import pytest
from suites import write_image

from vptx.datasets import CustomImages


def write_folders(root: Path, split: str, **counts: int) -> None:
    for label, (name, count) in enumerate(counts.items()):
        for i in range(count):
            write_image(root / split / name / f'{i:02}.png', label)


def write_table(path: Path, *rows: str, header: str = 'image,label') -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join([header, *rows]))


def items(root: Path, split: str) -> list[tuple[str, str]]:
    data = CustomImages(str(root), split)
    infos = [data.get_data_info(i) for i in range(len(data))]
    return [(str(Path(x['img_path']).relative_to(root)), data.metainfo['classes'][x['gt_label']]) for x in infos]


def test_folders_with_all_splits(tmp_path):
    for split, count in (('train', 3), ('val', 1), ('test', 2)):
        write_folders(tmp_path, split, owl=count, cat=count)
    (tmp_path / 'train' / 'cat' / 'notes.txt').write_text('no image')
    assert CustomImages(str(tmp_path)).metainfo['classes'] == ('cat', 'owl')
    assert items(tmp_path, 'val') == [('val/cat/00.png', 'cat'), ('val/owl/00.png', 'owl')]
    assert len(items(tmp_path, 'train')) == 6 and len(items(tmp_path, 'trainval')) == 8
    assert len(items(tmp_path, 'test')) == 4


def test_a_tenth_is_held_out_where_there_is_no_val(tmp_path):
    write_folders(tmp_path, 'train', cat=20, owl=30)
    train, val, both = (items(tmp_path, split) for split in ('train', 'val', 'trainval'))
    assert [label for _, label in val] == ['cat'] * 2 + ['owl'] * 3
    assert not set(train) & set(val) and sorted(train + val) == sorted(both) and len(both) == 50


def test_tables(tmp_path):
    write_table(tmp_path / 'train.csv', 'a b.png,owl', '"sub/c,1.png",cat', 'd.png, owl')
    write_table(tmp_path / 'val.csv', '7,cat,e.png', header='id,label,image')
    assert items(tmp_path, 'train') == [('a b.png', 'owl'), ('sub/c,1.png', 'cat'), ('d.png', 'owl')]
    assert items(tmp_path, 'val') == [('e.png', 'cat')]


def test_a_set_of_few_classes_in_the_order_of_a_user(tmp_path):
    write_folders(tmp_path, 'train', cat=10, owl=10)
    data = CustomImages(str(tmp_path), 'val', classes=['owl', 'cat'])
    assert [data.get_data_info(i)['gt_label'] for i in range(len(data))] == [0, 1]


@pytest.mark.parametrize(
    ('rows', 'header', 'message'),
    [
        (['a.png,cat'], 'file,class', 'must begin with a line that names the columns: image,label'),
        ([], '', 'must begin with a line'),
        (['a.png,cat', 'b.png'], 'image,label', r"train\.csv, line 3: 'b\.png' has no image or no label"),
        ([',cat'], 'image,label', 'line 2'),
        ([], 'image,label', "has an empty 'train'"),
    ],
)
def test_bad_tables(tmp_path, rows, header, message):
    write_table(tmp_path / 'train.csv', *rows, header=header)
    with pytest.raises(ValueError, match=message):
        CustomImages(str(tmp_path))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r'train: there is no .*/none/train\. A split is a folder with a folder'
    ):
        CustomImages(str(tmp_path / 'none'))
    write_folders(tmp_path, 'train', cat=10)
    with pytest.raises(FileNotFoundError, match='test: there is no'):
        CustomImages(str(tmp_path), 'test')
    (tmp_path / 'test').mkdir()
    with pytest.raises(ValueError, match='has no folders of classes in it'):
        CustomImages(str(tmp_path), 'test')


def test_a_class_that_cannot_be_learnt(tmp_path):
    write_folders(tmp_path, 'train', cat=10)
    write_folders(tmp_path, 'test', dog=1)
    with pytest.raises(ValueError, match=r"the class 'dog' \(.*/test/dog/00\.png\), train does not"):
        CustomImages(str(tmp_path), 'test')
