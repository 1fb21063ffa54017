"""Which files are images."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from vptx.image_files import SUFFIXES, search, shown


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'x')
    return path


def test_what_is_found_and_what_is_passed_over(tmp_path):
    wanted = [touch(tmp_path / name) for name in ('a.png', 'b.JFIF', 'folder.png/c.jpe', 'sub/d.webp')]
    for name in ('._a.png', '.ipynb_checkpoints/a.png', '__MACOSX/a.png', 'sub/.DS_Store', 'notes.txt', 'e.npy'):
        touch(tmp_path / name)
    os.mkfifo(tmp_path / 'pipe.png')
    (tmp_path / 'broken.png').symlink_to('nowhere.png')
    found = search(tmp_path)
    assert found.images == sorted(wanted)
    names = {reason: {path.name for path in paths} for reason, paths in found.passed.items()}
    assert names == {
        'hidden': {'._a.png', '.ipynb_checkpoints', '__MACOSX', '.DS_Store'},
        'without the suffix of an image': {'notes.txt', 'e.npy'},
        'that are no files (pipes or broken links)': {'pipe.png', 'broken.png'},
    }
    assert '2 without the suffix of an image (' in found.report() and 'notes.txt' in found.report()


def test_linked_folders_are_searched_once(tmp_path):
    there = touch(tmp_path / 'elsewhere' / 'a.png')
    touch(tmp_path / 'data' / 'b.png')
    (tmp_path / 'data' / 'more').symlink_to(there.parent)
    (tmp_path / 'data' / 'again').symlink_to(there.parent)
    (there.parent / 'loop').symlink_to(tmp_path / 'data')
    found = search(tmp_path / 'data')
    assert [path.name for path in found.images] == ['a.png', 'b.png']
    assert len(found.passed['linked folders that were searched already']) == 2


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_every_suffix_is_read_by_opencv(suffix):
    written = {'.jfif': '.jpg'}.get(suffix, suffix)
    shape = (64, 64) if suffix in ('.pbm', '.pgm') else (64, 64, 3)
    done, content = cv2.imencode(written, np.full(shape, 255, np.uint8))
    assert done and cv2.imdecode(content, cv2.IMREAD_COLOR).shape == (64, 64, 3)


def test_odd_names_can_be_printed(tmp_path):
    name = os.fsdecode(b'caf\xe9.png')
    assert shown(Path(name)) == 'caf\\xe9.png' and shown('ü 猫.png') == 'ü 猫.png'
