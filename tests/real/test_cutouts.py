"""Splits of pictures share no thing: not its mirror image, another colour of it, or another view of the same name."""

import io

import pytest
from packages import debian, picture
from PIL import Image

from vptx.real import cutouts
from vptx.real.cutouts import SHARES, labels_of, on_white, read_cutouts, split_cutouts

LABEL_OF = labels_of({'animals': 'animals', 'food': 'food'}, 'usr/share')


def pictures(tmp_path, others=None):
    """30 of each class, every one of another name."""
    words = [f'{first}{second}' for first in 'abcdef' for second in ('ba', 'co', 'di', 'fu', 'ge')]
    files = {
        f'usr/share/{label}/{word}{label[0]}x.png': picture(100 * number + row)
        for number, label in enumerate(('animals', 'food'))
        for row, word in enumerate(words)
    }
    return read_cutouts(debian(tmp_path / 'a_1_all.deb', files | (others or {})), LABEL_OF)


def where(found, *names):
    """The splits that pictures of these names are in."""
    return {split for split, chosen in split_cutouts(found).items() for c in chosen if c.source.endswith(names)}


def test_each_class_has_its_share_in_each_split(tmp_path):
    found = pictures(tmp_path)
    splits = split_cutouts(found)
    for split, share in SHARES.items():
        for label in ('animals', 'food'):
            assert sum(c.label == label for c in splits[split]) == pytest.approx(30 * share, abs=1)
    assert sorted(c.source for chosen in splits.values() for c in chosen) == [c.source for c in found]
    assert {k: [c.source for c in v] for k, v in splits.items()} == {
        k: [c.source for c in v] for k, v in split_cutouts(found).items()
    }


def test_pictures_of_one_thing_stay_together(tmp_path):
    others = {
        'usr/share/animals/zebra_left.png': picture(1000),
        'usr/share/animals/horse.png': picture(1000, mirrored=True),
        'usr/share/food/zebra-cake.png': picture(1001),
        'usr/share/food/tart.png': picture(1001, size=(60, 52)),
        'usr/share/food/ZebraPie2.png': picture(1002),
    }
    found = pictures(tmp_path, others)
    assert len(where(found, *others)) == 1
    assert len(where(found, 'zebra_left.png', 'abaax.png', 'bcoax.png', 'cdiax.png', 'dfuax.png', 'egeax.png')) > 1


def test_what_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(cutouts, 'PIXELS', 64 * 64)
    others = {
        'usr/share/animals/large.png': picture(1, size=(65, 64)),
        'usr/share/animals/narrow.png': picture(2, size=(60, 12)),
        'usr/share/plants/rose.png': picture(3),
        'usr/share/animals/cat.txt': b'cat',
    }
    assert len(pictures(tmp_path, others)) == 60


def test_a_damaged_picture_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'a_1_all.deb: usr/share/food/pie.png cannot be read'):
        pictures(tmp_path, {'usr/share/food/pie.png': picture(1)[:100]})


def test_on_white():
    image = on_white(Image.open(io.BytesIO(picture(0, size=(60, 30)))), 64)
    assert image.size == (64, 64) and image.mode == 'RGB'
    assert image.getpixel((0, 0)) == (255, 255, 255) == image.getpixel((5, 20))
