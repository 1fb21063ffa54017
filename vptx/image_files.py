"""Which files of a folder are images: the one list of suffixes, and the one search through folders; and which of their
bands are drawn."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ['SUFFIXES', 'Found', 'choose_bands', 'is_hidden', 'search', 'shown']

#: What OpenCV decodes, whatever the file's name, and Pillow too with few exceptions.
# fmt: off
SUFFIXES = (
    '.avif', '.bmp', '.dib', '.gif', '.jfif', '.jp2', '.jpe', '.jpeg', '.jpg', '.pbm',
    '.pgm', '.png', '.pnm', '.ppm', '.ras', '.sr', '.tif', '.tiff', '.webp',
)
# fmt: on
#: An image to ``LoadBands``, and anything elsewhere.
ARRAY = '.npy'


@dataclass
class Found:
    """What a search came to.

    Attributes:
        images: in the order of their paths.
        passed: what was passed over, by the reason.
    """

    images: list[Path] = field(default_factory=list)
    passed: dict[str, list[Path]] = field(default_factory=dict)

    def skip(self, reason: str, path: Path) -> None:
        self.passed.setdefault(reason, []).append(path)

    def add(self, other: 'Found') -> None:
        """Append what another search found."""
        self.images += other.images
        for reason, paths in other.passed.items():
            self.passed.setdefault(reason, []).extend(paths)

    def report(self) -> str:
        """What was passed over and why, in one line; empty where nothing was."""
        return '; '.join(f'{len(paths)} {reason} ({_examples(paths)})' for reason, paths in self.passed.items())


def _examples(paths: list[Path]) -> str:
    if len(paths) <= 3:
        return ', '.join(shown(path) for path in paths)
    suffixes = Counter(path.suffix or path.name for path in paths)
    return ', '.join(f'{suffix} {count}' for suffix, count in suffixes.most_common(5)) + f', first {shown(paths[0])}'


def is_hidden(path: Path) -> bool:
    """Whether a name is a program's own, such as ``.ipynb_checkpoints``, ``._0.png``, ``__MACOSX``."""
    return path.name.startswith('.') or path.name == '__MACOSX'


def shown(path: Path | str) -> str:
    """A path as text that can be printed and written, whatever bytes its name has."""
    return str(path).encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')


def search(folder: Path) -> Found:
    """The image files in ``folder`` and in the folders and linked folders inside it, each of which is searched once.

    Hidden files and folders, pipes, broken links and files of other suffixes are passed over, with the reason. Arrays
    (``.npy``) are images where there are no others.
    """
    found, seen, arrays = Found(), set[Path](), list[Path]()
    for path in _walk(folder, found, seen):
        if path.suffix.lower() == ARRAY and path.is_file():
            arrays.append(path)
        elif path.suffix.lower() not in SUFFIXES:
            found.skip('without the suffix of an image', path)
        elif path.is_file():
            found.images.append(path)
        else:
            found.skip('that are no files (pipes or broken links)', path)
    if not found.images:
        found.images = arrays
    else:
        for path in arrays:
            found.skip('without the suffix of an image', path)
    found.images.sort()
    return found


def _walk(folder: Path, found: Found, seen: set[Path]) -> Iterator[Path]:
    seen.add(folder.resolve())
    for path in sorted(folder.iterdir()):
        if is_hidden(path):
            found.skip('hidden', path)
        elif not path.is_dir():
            yield path
        elif path.resolve() in seen:
            found.skip('linked folders that were searched already', path)
        else:
            yield from _walk(path, found, seen)


def choose_bands(channels: int, bands: Sequence[int] | None, usual: Sequence[int] | None = None) -> list[int]:
    """Which channels of an image to draw as red, green and blue, counted from 0.

    Args:
        channels: of the image.
        bands: three, or one for grey, counted from 1; None for the usual ones.
        usual: counted from 1; None for the first three, or the first one of fewer.

    Raises:
        ValueError: another number of bands, or some that the image does not have.
    """
    asked = bands or usual or ((1, 2, 3) if channels >= 3 else (1,))
    if len(asked) not in (1, 3) or not all(1 <= band <= channels for band in asked):
        raise ValueError(
            f'bands {" ".join(map(str, asked))} cannot be drawn of an image of {channels} channels: choose one or '
            f'three numbers from 1 to {channels}'
        )
    return [band - 1 for band in (asked if len(asked) == 3 else [asked[0]] * 3)]
