"""Images of one's own, as folders and as tables."""

from pathlib import Path

import pytest
from mmengine.logging import MMLogger
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
        (['a.png,cat', 'img/a, b.png,cat'], 'image,label', r'train\.csv, line 3: 3 cells .* header of 2 columns'),
        (['a.png,cat', '"b.png,cat', 'c.png,cat'], 'image,label', r'train\.csv, line 4: .*quotation mark left open'),
        (['a.png,cat,rest'], 'image,label,split', r"train\.csv, line 2: the split 'rest' is none of train, val, test"),
        (['a.png,cat', 'b.png,cat', 'a.png,owl'], 'image,label', r'line 4: .*a\.png is owl here and cat in an earlier'),
        ([',cat'], 'image,label', 'line 2'),
        ([], 'image,label', r'train\.csv names no images'),
        (['a\0.png,cat'], 'image,label', r'train\.csv is no text file: there are null bytes in it'),
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
    with pytest.raises(ValueError, match=r"the class 'dog' \(.*/test/dog/00\.png\), train does not: it has cat"):
        CustomImages(str(tmp_path), 'test')


def warnings(caplog) -> str:
    return ' '.join(record.getMessage() for record in caplog.records if record.levelname == 'WARNING')


@pytest.fixture
def log(caplog):
    """What MMEngine's logger says, which does not pass on to its parents."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    caplog.handler.setLevel('INFO')
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.mark.parametrize('separator', [',', ';', '\t'])
def test_separators_and_names_of_columns_in_any_case(tmp_path, separator):
    (tmp_path / 'train.csv').write_text(
        '\r\n'.join(separator.join(row) for row in (['Label', 'IMAGE'], ['cat', 'a b.png'], ['owl', '"c,d;e.png"']))
    )
    (tmp_path / 'val.csv').write_text('image,label\na b.png,cat\n')
    assert items(tmp_path, 'train') == [('a b.png', 'cat'), ('c,d;e.png', 'owl')]


@pytest.mark.parametrize('encoding', ['utf-16', 'latin-1'])
def test_another_encoding_is_told(tmp_path, encoding):
    (tmp_path / 'train.csv').write_bytes('image,label\nb.png,b\xe4r\n'.encode(encoding))
    with pytest.raises(ValueError, match=r'train\.csv is .*save it as UTF-8'):
        CustomImages(str(tmp_path))


def test_one_table_for_all_splits(tmp_path):
    rows = [f'{i}.png,{"cat" if i % 2 else "owl"},{("train", "train", "valid", "TEST")[i // 4]}' for i in range(16)]
    write_table(tmp_path / 'train.csv', *rows, header='image,label,Split')
    assert [len(items(tmp_path, split)) for split in ('train', 'val', 'test', 'trainval')] == [8, 4, 4, 12]
    assert [name for name, _ in items(tmp_path, 'val')] == ['8.png', '9.png', '10.png', '11.png']


def test_a_split_column_without_val_rows_holds_a_tenth_out(tmp_path):
    write_table(tmp_path / 'train.csv', *[f'{i}.png,cat,train' for i in range(20)], header='image,label,split')
    assert len(items(tmp_path, 'val')) == 2 and len(items(tmp_path, 'train')) == 18


def test_absolute_paths_and_a_subset(tmp_path):
    write_table(tmp_path / 'data' / 'train.csv', *[f'/images/{i}.png,{"ab"[i % 2]}' for i in range(20)])
    write_table(tmp_path / 'data' / 'val.csv', 'a.png,a')
    record = tmp_path / 'record.json'
    for _ in range(2):  # drawn, and read again
        data = CustomImages(str(tmp_path / 'data'), subset=dict(shots=2, record=str(record)))
        assert len(data) == 4 and data.get_data_info(0)['img_path'].startswith('/images/')


def test_the_log_says_what_was_found_and_what_was_passed_over(tmp_path, log):
    write_folders(tmp_path, 'train', cat=10, owl=5)
    write_folders(tmp_path, 'val', cat=1, owl=1)
    write_folders(tmp_path, 'train/.ipynb_checkpoints', cat=1)
    for name in ('._0.png', 'notes.txt'):
        (tmp_path / 'train' / 'cat' / name).write_bytes(b'x')
    write_image(tmp_path / 'train' / 'cat' / 'folder.png' / '0.png', 0)
    (tmp_path / 'train' / 'cat' / '00.png').rename(tmp_path / 'train' / 'cat' / '00.jfif')
    write_image(tmp_path / 'elsewhere' / '0.png', 0)
    (tmp_path / 'train' / 'owl' / 'more').symlink_to(tmp_path / 'elsewhere')
    write_image(tmp_path / 'train' / 'beside.png', 0)
    assert CustomImages(str(tmp_path)).metainfo['classes'] == ('cat', 'owl')
    assert "'train': 17 images, 2 of 2 classes: cat 11, owl 6" in log.text
    told = warnings(log)
    assert '2 hidden' in told and '.ipynb_checkpoints' in told and '._0.png' in told and 'notes.txt' in told
    assert 'outside of the folders of classes' in told and 'beside.png' in told


def test_a_class_without_images_shifts_no_label(tmp_path, log):
    write_folders(tmp_path, 'train', cat=10, owl=10)
    (tmp_path / 'train' / 'dog').mkdir()
    (tmp_path / 'train' / 'dog' / 'a.mat').write_bytes(b'x')
    with pytest.raises(ValueError, match=r'train has folders without images: dog \(passed over: .*a\.mat\).*classes='):
        CustomImages(str(tmp_path))
    data = CustomImages(str(tmp_path), classes=['cat', 'dog', 'owl'])
    assert {data.get_data_info(i)['gt_label'] for i in range(len(data))} == {0, 2}
    assert 'folders of classes without images (dog)' in warnings(log)


def test_a_class_without_images_to_test_with(tmp_path):
    write_folders(tmp_path, 'train', cat=10, owl=10)
    write_folders(tmp_path, 'test', owl=1)
    (tmp_path / 'test' / 'cat').mkdir()
    assert items(tmp_path, 'test') == [('test/owl/00.png', 'owl')]


def test_too_few_images_to_hold_a_tenth_out(tmp_path):
    write_folders(tmp_path, 'train', cat=2, owl=2)
    with pytest.raises(ValueError, match='every tenth image of train is held out, and train has 4: at least 6'):
        CustomImages(str(tmp_path), 'val')
