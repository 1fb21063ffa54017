"""Small packages, as registries ship them: wheels and Debian packages with given members."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from vptx.real import Package


def wheel(path: Path, members: Mapping[str, bytes]) -> Path:
    """A wheel of ``name-version-py3-none-any.whl`` that pip takes."""
    name, version, *_ = path.name.split('-')
    info = f'{name}-{version}.dist-info'
    with zipfile.ZipFile(path, 'w') as file:
        for member, content in members.items():
            file.writestr(member, content)
        file.writestr(f'{info}/METADATA', f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')
        file.writestr(
            f'{info}/WHEEL', 'Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n'
        )
        file.writestr(f'{info}/RECORD', '')
    return path


def debian(path: Path, members: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> Path:
    """A Debian package: an ar archive with two tar archives in it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w:xz') as file:
        for name, content in members.items():
            member = tarfile.TarInfo(f'./{name}')
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(f'./{name}')
            member.type, member.linkname = tarfile.SYMTYPE, target
            file.addfile(member)
    parts = {'debian-binary': b'2.0\n', 'control.tar.xz': b'odd', 'data.tar.xz': data.getvalue()}
    with path.open('wb') as file:
        file.write(b'!<arch>\n')
        for name, content in parts.items():
            file.write(f'{name:<16}{0:<12}{0:<6}{0:<6}{"100644":<8}{len(content):<10}`\n'.encode())
            file.write(content + b'\n' * (len(content) % 2))
    return path


def package(path: Path, client: str = 'apt', name: str = 'pictures', version: str = '1') -> Package:
    """The entry of a file, with its true sum."""
    return Package(client, name, version, path.name, sha256(path.read_bytes()).hexdigest(), 0.1, 'MIT', 'tests')


def picture(seed: int, size: tuple[int, int] = (48, 40), mirrored: bool = False) -> bytes:
    """A PNG of blocks of random colours, with a transparent corner."""
    pixels = np.random.default_rng(seed).integers(256, size=(6, 6, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    pixels[:2, :2, 3] = 0
    image = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
    file = io.BytesIO()
    (image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image).save(file, 'PNG')
    return file.getvalue()
