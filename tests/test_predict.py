"""Images and folders in, a table and a picture out."""

import csv

import numpy as np
import pytest
from PIL import Image

from vptx.predict import Prediction, contact_sheet, find_images, read_image, write_table


def write(path, colour=(200, 100, 0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', (12, 8), colour).save(path)
    return path


def test_folders_are_searched_and_files_taken_as_they_are(tmp_path):
    deep = write(tmp_path / 'folder' / 'sub' / 'b.PNG')
    flat = write(tmp_path / 'folder' / 'a.jpg')
    (tmp_path / 'folder' / 'notes.txt').write_text('no image')
    single = write(tmp_path / 'single.bmp')
    assert find_images([single, tmp_path / 'folder']) == [single, flat, deep]


def test_a_missing_path_or_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'nowhere\.png'):
        find_images([tmp_path / 'nowhere.png'])
    with pytest.raises(ValueError, match=rf'no images in {tmp_path}.*\.jpg'):
        find_images([tmp_path])


@pytest.mark.parametrize('content', [b'', b'this is text', b'\x89PNG\r\n\x1a\n broken'])
def test_an_unreadable_image_is_named(tmp_path, content):
    (tmp_path / 'broken.png').write_bytes(content)
    with pytest.raises(ValueError, match=r'broken\.png is not an image'):
        read_image(tmp_path / 'broken.png')


def test_images_are_read_as_bgr(tmp_path):
    np.testing.assert_array_equal(read_image(write(tmp_path / 'a.png'))[0, 0], (0, 100, 200))


def test_table_and_picture(tmp_path):
    predictions = [Prediction(write(tmp_path / f'{i}.png'), i, f'class {i}', 0.5) for i in range(12)]
    write_table(predictions, tmp_path / 'out' / 'predictions.csv')
    with (tmp_path / 'out' / 'predictions.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['class'] for row in rows] == [f'class {i}' for i in range(12)]
    assert rows[0] == {'image': str(tmp_path / '0.png'), 'class': 'class 0', 'score': '0.5000'}
    contact_sheet(predictions, tmp_path / 'new' / 'sheet.png')
    width, height = Image.open(tmp_path / 'new' / 'sheet.png').size
    assert width > height  # ten in a row, two rows
