"""Members of wheels and of Debian packages, read one by one. No name in an archive becomes a path."""

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from vptx.files import check_zip

__all__ = ['LARGEST', 'members', 'only']

#: Bytes of one member; the largest that is wanted is a network of 90 MB.
LARGEST = 2**28
_AR, _HEADER = b'!<arch>\n', 60


def members(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the regular files whose names are ``wanted``, in the order of the archive.

    Args:
        archive: a wheel (``.whl``) or a Debian package (``.deb``).
        wanted: is asked for each name, as the archive has it, without ``./`` before it.

    Raises:
        ValueError: begins with the archive; it is damaged, or a member is too large.
    """
    try:
        yield from (_of_wheel if archive.suffix == '.whl' else _of_package)(archive, wanted)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ValueError(f'{archive} cannot be read: {error}') from error


def only(archive: Path, name: str) -> bytes:
    """The content of one member.

    Raises:
        ValueError: there is none of that name, or the archive is damaged.
    """
    for _, content in members(archive, name.__eq__):
        return content
    raise ValueError(f'{archive} has no {name}')


def _of_wheel(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    check_zip(archive)
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            if not member.is_dir() and wanted(member.filename):
                _check_size(archive, member.filename, member.file_size)
                yield member.filename, file.read(member)


def _of_package(archive: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """A Debian package is an ``ar`` archive, and its files are a compressed tar archive in it: data.tar.xz."""
    with archive.open('rb') as file:
        _find_data(archive, file)
        with tarfile.open(fileobj=file, mode='r|*') as data:
            for member in data:
                name = member.name.removeprefix('./')
                if member.isfile() and wanted(name):
                    _check_size(archive, name, member.size)
                    content = data.extractfile(member)
                    assert content is not None  # it is a regular file
                    yield name, content.read()


def _find_data(archive: Path, file: IO[bytes]) -> None:
    """Leave ``file`` at the beginning of the member data.tar."""
    length = archive.stat().st_size
    if file.read(len(_AR)) != _AR:
        raise ValueError(f'{archive} is no Debian package')
    while header := file.read(_HEADER):
        size = header[48:58].strip()
        if len(header) != _HEADER or not size.isdigit() or file.tell() + int(size) > length:
            break
        if header[:16].startswith(b'data.tar'):
            return
        file.seek(int(size) + int(size) % 2, 1)
    raise ValueError(f'{archive} is a damaged Debian package: there is no whole data.tar in it')


def _check_size(archive: Path, name: str, size: int) -> None:
    if size > LARGEST:
        raise ValueError(f'{archive} is refused: {name} claims to have {size:,} bytes')
