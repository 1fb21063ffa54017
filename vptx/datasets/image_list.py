"""Data sets whose images are files, named one by one with their labels: lists, CSV, JSON or folders.

Nothing but the names is ever in memory: an image is read when it is asked for.
"""

from collections.abc import Sequence
from pathlib import Path

from mmpretrain.datasets import BaseDataset

from vptx.cache import locate
from vptx.datasets.arrays import check_split
from vptx.datasets.subset import Subset

__all__ = ['ImageList', 'need', 'read_lines', 'read_text']

Images = list[tuple[Path, int]]


def need(path: Path, what: str, how_to_get: str) -> Path:
    """The path, or a FileNotFoundError that says what is missing, where it was looked for and how to get it."""
    if not path.is_dir() and not path.is_file():
        raise FileNotFoundError(f'{what}: there is no {path.absolute()}. {how_to_get}')
    return path


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without its mark.

    Raises:
        ValueError: another encoding, or no text.
    """
    content = path.read_bytes()
    if content.startswith((b'\xff\xfe', b'\xfe\xff')):
        raise ValueError(f'{path} is text in UTF-16: save it as UTF-8 ("CSV UTF-8" in a spreadsheet program)')
    if b'\0' in content:
        raise ValueError(f'{path} is no text file: there are null bytes in it')
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'{path} is no text file in UTF-8 ({error}): save it as UTF-8 ("CSV UTF-8" in a spreadsheet program)'
        ) from error


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The numbered lines of a text file, without empty ones.

    Raises:
        ValueError: of ``read_text``.
    """
    return [(number, line.strip()) for number, line in enumerate(read_text(path).splitlines(), 1) if line.strip()]


class ImageList(BaseDataset):
    """Items are dict(img_path=str, gt_label=int); a subclass writes ``read`` and, maybe, ``class_names``.

    Args:
        data_root: folder of the data set, or ``real://NAME``, what ``make real`` has fetched.
        split: one of 'train', 'val', 'trainval' (both), 'test'.
        subset: ``Subset`` or its arguments, e.g. ``dict(shots=4, seed=1)``: some of the
            images of the split, drawn from the list sorted by path; None for all.
        kwargs: of mmpretrain's BaseDataset.

    Raises:
        FileNotFoundError: says what is missing, where it was looked for, and how to get it.
        ValueError: an unknown split, one without images, or a line that names no image and class.
    """

    SPLITS = ('train', 'val', 'trainval', 'test')

    def __init__(self, data_root: str, split: str = 'train', subset: Subset | dict | None = None, **kwargs) -> None:
        self.split = check_split(split, self.SPLITS)
        self.subset = Subset(**subset) if isinstance(subset, dict) else subset
        root = locate(data_root)
        if not kwargs.keys() & {'metainfo', 'classes'}:
            kwargs['classes'] = self.class_names(root)
        super().__init__(ann_file='', data_root=str(root), **kwargs)

    def class_names(self, root: Path) -> Sequence[str]:
        """The names of the classes, in the order of their labels."""
        raise NotImplementedError

    def read(self, root: Path, split: str) -> Images:
        """The images of a split, ``'trainval'`` excepted, with their labels."""
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        splits = ('train', 'val') if self.split == 'trainval' else (self.split,)
        images = [image for split in splits for image in self.read(root, split)]
        if not images:
            raise ValueError(f"{type(self).__name__} in {root.absolute()} has an empty '{self.split}'")
        if self.subset:
            # Sorted, so that what is drawn does not depend on the order of a file or of a folder.
            named = sorted((str(p.relative_to(root) if p.is_relative_to(root) else p), p, label) for p, label in images)
            chosen = self.subset.choose([(name, label) for name, _, label in named])
            images = [named[i][1:] for i in chosen]
        return [dict(img_path=str(path), gt_label=label) for path, label in images]
