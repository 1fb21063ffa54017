"""Images of one's own: a folder for each class, or a table."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log

from vptx.datasets.image_list import ImageList, Images, need
from vptx.datasets.table import Row, read_table
from vptx.image_files import Found, is_hidden, search
from vptx.registry import DATASETS

__all__ = ['CustomImages']

EVERY = 10  # that many-th image of train is val, where there is no val
MANY = 20  # classes, of which no more are counted one by one in the log
_HOW = (
    'A split is a folder with a folder of images for each class, or a table, such as train.csv, whose first line is '
    '"image,label"'
)

Named = list[tuple[Path, str]]


@DATASETS.register_module()
class CustomImages(ImageList):
    """Any images, for each split (train, val, test) in one of three forms:

    * ``<data_root>/<split>/<class>/...``, image files, folders searched through;
    * ``<data_root>/<split>.csv`` with the columns ``image``, a path from ``data_root``, and ``label``, a name;
    * ``<data_root>/train.csv`` with a third column, ``split``, for all splits.

    Where there is no val, every tenth image of train is held out. Classes are those of train, in alphabetical order.
    The log says how many images each class has, and which files were passed over and why.

    Raises:
        FileNotFoundError: of ``ImageList``.
        ValueError: of ``ImageList`` and ``read_table``; a class folder of
            train without images; a class that train does not have.
    """

    def class_names(self, root: Path) -> Sequence[str]:
        named, found, empty = self._entries(root, 'train')
        if empty:
            skipped = found.report()
            raise ValueError(
                f'{root.absolute() / "train"} has folders without images: {", ".join(empty)}'
                f'{f" (passed over: {skipped})" if skipped else ""}. Each would take a label, or shift those of '
                'others: '
                'remove them, or name the classes: classes=[...]'
            )
        return sorted({name for _, name in named})

    def read(self, root: Path, split: str) -> Images:
        held_out = split != 'test' and not self._is_there(root, 'val')
        source = 'train' if held_out else split
        classes = self.metainfo['classes']
        number = {name: label for label, name in enumerate(classes)}
        named, found, empty = self._entries(root, source)
        for path, name in named:
            if name not in number:
                raise ValueError(
                    f"{source} in {root.absolute()} has the class '{name}' ({path}), train does not: it has "
                    f'{", ".join(classes)}'
                )
        images = [(path, number[name]) for path, name in named]
        total = len(images)
        if held_out:
            # Sorted by class, so that every class gives its share, and begun in the middle, so that a small one can.
            images.sort(key=lambda image: image[1])
            if split == 'val':
                images = images[EVERY // 2 :: EVERY]
            else:
                images = [x for i, x in enumerate(images) if i % EVERY != EVERY // 2]
            if total and not images:
                raise ValueError(
                    f'{root.absolute()} has no val, so that every tenth image of train is held out, and train has '
                    f'{total}: at least {EVERY // 2 + 1} are needed, or images in val/ or val.csv'
                )
        self._tell(root, split, images, f', of {total} in train' if held_out else '')
        if empty:
            found.passed['folders of classes without images'] = [Path(name) for name in empty]
        if found.passed:
            print_log(f'{root / source}: passed over {found.report()}', 'current', logging.WARNING)
        return images

    def _tell(self, root: Path, split: str, images: Images, of: str) -> None:
        classes = self.metainfo['classes']
        counts = Counter(classes[label] for _, label in images)
        shown = [f'{name} {counts[name]}' for name in classes[:MANY]]
        if len(classes) > MANY:
            shown.append(f'... ({min(counts.values(), default=0)} to {max(counts.values(), default=0)} images each)')
        print_log(
            f"CustomImages {root}, '{split}': {len(images)} images{of}, {len(counts)} of {len(classes)} classes: "
            f'{", ".join(shown)}',
            'current',
        )

    @staticmethod
    def _is_there(root: Path, split: str) -> bool:
        return (root / split).is_dir() or (root / f'{split}.csv').is_file() or bool(_of_train_table(root, split))

    @staticmethod
    def _entries(root: Path, split: str) -> tuple[Named, Found, list[str]]:
        """Images with the names of their classes, what was passed over, and the names of empty class folders."""
        table, found = root / f'{split}.csv', Found()
        if not table.is_file() and not (root / split).is_dir():
            rows = _of_train_table(root, split)
            if rows:
                return [(row.path, row.label) for row in rows], found, []
        if table.is_file():
            rows = read_table(table)
            for row in rows:
                if row.split not in (None, split):
                    found.skip(f'of another split than {split}', row.path)
            if table.stem == 'train':  # which is the table of all splits
                found = Found()
            return [(row.path, row.label) for row in rows if row.split in (None, split)], found, []
        folder = need(root / split, f"CustomImages' {split}", _HOW)
        named: Named = []
        empty = []
        for path in sorted(folder.iterdir()):
            if is_hidden(path):
                found.skip('hidden', path)
            elif not path.is_dir():
                found.skip('outside of the folders of classes', path)
            else:
                inside = search(path)
                named += [(image, path.name) for image in inside.images]
                found.add(Found(passed=inside.passed))
                if not inside.images:
                    empty.append(path.name)
        if not named and not empty:
            raise ValueError(f'{folder.absolute()} has no folders of classes in it. {_HOW}')
        return named, found, empty


def _of_train_table(root: Path, split: str) -> list[Row]:
    """The rows of ``split`` in the table of all splits, if there is one."""
    table = root / 'train.csv'
    return [row for row in read_table(table) if row.split == split] if table.is_file() else []
