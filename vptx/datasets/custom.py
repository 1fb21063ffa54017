"""Images of one's own: a folder for each class, or a table."""

import csv
from collections.abc import Sequence
from pathlib import Path

from vptx.datasets.image_list import ImageList, Images, need, read_lines
from vptx.registry import DATASETS

__all__ = ['CustomImages']

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
EVERY = 10  # that many-th image of train is val, where there is no val
_HOW = (
    'A split is a folder with a folder of images for each class, or a table, such as train.csv, whose first line is '
    '"image,label"'
)


@DATASETS.register_module()
class CustomImages(ImageList):
    """Any images, for each split (train, val, test) in one of two forms:

    * ``<data_root>/<split>/<class>/...``, image files, folders searched through;
    * ``<data_root>/<split>.csv`` with the columns ``image``, a path from ``data_root``, and ``label``, a name.

    Where there is no val, every tenth image of train is held out. Classes are those of train, in alphabetical order.
    """

    def class_names(self, root: Path) -> Sequence[str]:
        return sorted({name for _, name in self._named(root, 'train')})

    def read(self, root: Path, split: str) -> Images:
        held_out = split != 'test' and not self._is_there(root, 'val')
        source = 'train' if held_out else split
        number = {name: label for label, name in enumerate(self.metainfo['classes'])}
        named = self._named(root, source)
        for path, name in named:
            if name not in number:
                raise ValueError(f"{source} in {root.absolute()} has the class '{name}' ({path}), train does not")
        images = [(path, number[name]) for path, name in named]
        if not held_out:
            return images
        # Sorted by class, so that every class gives its share, and begun in the middle, so that a small one can.
        images.sort(key=lambda image: image[1])
        return (
            images[EVERY // 2 :: EVERY]
            if split == 'val'
            else [x for i, x in enumerate(images) if i % EVERY != EVERY // 2]
        )

    @staticmethod
    def _is_there(root: Path, split: str) -> bool:
        return (root / split).is_dir() or (root / f'{split}.csv').is_file()

    def _named(self, root: Path, split: str) -> list[tuple[Path, str]]:
        table = root / f'{split}.csv'
        if table.is_file():
            return _read_table(table)
        folder = need(root / split, f"CustomImages' {split}", _HOW)
        classes = sorted(path for path in folder.iterdir() if path.is_dir())
        if not classes:
            raise ValueError(f'{folder.absolute()} has no folders of classes in it. {_HOW}')
        return [
            (path, name.name) for name in classes for path in sorted(name.rglob('*')) if path.suffix.lower() in SUFFIXES
        ]


def _read_table(table: Path) -> list[tuple[Path, str]]:
    (_, first), *lines = read_lines(table) or [(0, '')]
    columns = _cells(first)
    if not {'image', 'label'} <= set(columns):
        raise ValueError(f'{table} must begin with a line that names the columns: image,label')
    named = []
    for number, line in lines:
        row = dict(zip(columns, _cells(line), strict=False))
        if not row.get('image') or not row.get('label'):
            raise ValueError(f"{table}, line {number}: '{line}' has no image or no label")
        named.append((table.parent / row['image'], row['label']))
    return named


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line]), [])]
