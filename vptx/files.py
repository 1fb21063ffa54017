"""Files read without running code they may carry, and written atomically.

An error of a reader begins with the file's path. ValueError: the file is not what it should be. PermissionError and
MemoryError: this user or this machine cannot read it, and it may be whole.
"""

import errno
import fcntl
import io
import json
import os
import platform
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4
from weakref import WeakValueDictionary
from zipfile import ZipFile

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors import safe_open
from safetensors.torch import load
from torch import Tensor

__all__ = [
    'Occupied',
    'alone',
    'check_zip',
    'digest',
    'download',
    'existing',
    'loads_again',
    'parse_safetensors',
    'read_array',
    'read_arrays',
    'read_json',
    'read_safetensors',
    'safe_load',
    'write_whole',
]

_core = np._core if hasattr(np, '_core') else np.core


def _history_method(owner: Any, name: str) -> Any:
    """All that ``getattr`` is to a checkpoint: log histories name four methods of their class by it."""
    if owner is not HistoryBuffer or name not in ('current', 'max', 'mean', 'min'):
        raise UnpicklingError(f'WeightsUnpickler error: getattr({owner!r}, {name!r})')
    return getattr(owner, name)


# MMEngine's own checkpoints hold log histories: inert classes around numpy arrays. Nothing that can call anything.
_INERT = [
    (_history_method, 'builtins.getattr'),
    HistoryBuffer,
    np.ndarray,
    np.dtype,
    _core.multiarray._reconstruct,
    _core.multiarray.scalar,
    *{type(np.dtype(kind)) for kind in np.sctypeDict.values() if np.dtype(kind).kind in 'biufcUS'},
]


#: An archive that grows by more than this factor, and beyond this size, is no archive of weights.
_EXPANDS, _LARGE = 100, 2**28


def existing(path: str | Path, what: str = 'file') -> Path:
    """The path of a file that is there and may be read.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: this user may not read it.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'there is no {what} {path.absolute()}')
    try:
        path.open('rb').close()
    except PermissionError as error:
        raise PermissionError(f'{path} cannot be read: this user has no permission to') from error
    return path


@contextmanager
def _reading(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever damage leads a reader to into one ValueError that names the file."""
    try:
        yield
    except RecursionError as error:
        raise ValueError(f'{path} cannot be read: it is nested too deeply for {expected}') from error
    except Exception as error:
        detail = ' '.join(str(error).split())
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or 'allocate memory' in detail:
            raise MemoryError(
                f'{path} cannot be read: there is not enough memory for what it holds ({detail})'
            ) from error
        if 'weights_only' in detail:  # torch's advice on how to load the file all the same
            detail = type(error).__name__
        raise ValueError(f'{path} cannot be read: truncated, or not {expected} ({detail})') from error


def check_zip(path: Path) -> list[str]:
    """The names of the members of a zip archive that can be unpacked without harm.

    Raises:
        ValueError: no archive, an encrypted one, or one that is far larger when unpacked.
    """
    with _reading(path, 'a zip archive'), ZipFile(path) as archive:
        members = archive.infolist()
    locked = [member.filename for member in members if member.flag_bits & 1]
    if locked:
        raise ValueError(f'{path} cannot be read: it is encrypted ({locked[0]}); save it without a password')
    size, unpacked = path.stat().st_size, sum(member.file_size for member in members)
    if unpacked > max(_LARGE, _EXPANDS * size):
        raise ValueError(
            f'{path} is refused: its {size:,} bytes claim to be {unpacked:,} when unpacked, more than weights ever are'
        )
    return [member.filename for member in members]


def read_array(path: str | Path) -> Tensor:
    """The array of a ``.npy`` file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, not of this format, or of objects.
    """
    path = existing(path)
    with _reading(path, 'a plain array of numbers'):
        # Mapped first: a header that claims more than the file holds raises an error before memory is allocated.
        return _tensor(np.array(np.load(path, mmap_mode='r', allow_pickle=False)))


def _tensor(array: np.ndarray) -> Tensor:
    # numpy knows no bfloat16: two bytes without a type are one.
    return (
        torch.from_numpy(array.view(np.int16)).view(torch.bfloat16) if array.dtype == 'V2' else torch.from_numpy(array)
    )


def read_arrays(path: str | Path) -> dict[str, Tensor]:
    """The named arrays of a ``.npz`` file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, not of this format, encrypted, of objects, or far larger when unpacked.
    """
    path = existing(path)
    check_zip(path)
    with _reading(path, 'plain arrays of numbers'), np.load(path, allow_pickle=False) as file:
        for member in file.zip.infolist():
            with file.zip.open(member) as entry:
                read = getattr(np.lib.format, f'read_array_header_{min(np.lib.format.read_magic(entry)[0], 2)}_0')
                shape, _, dtype = read(entry)
            if prod(shape) * dtype.itemsize > member.file_size:  # an error before memory is allocated
                raise ValueError(f'{member.filename} claims to hold more than its {member.file_size:,} bytes')
        return {name: _tensor(file[name]) for name in file.files}


def read_json(path: str | Path) -> Any:
    """What a JSON file says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no JSON, or too deep.
    """
    path = existing(path)
    with _reading(path, 'JSON'):
        return json.loads(path.read_text(encoding='utf-8'))


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], Any]:
    """The named tensors of a ``.safetensors`` file, and what its metadata say under ``vptx`` (``{}``: another's file).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or is not of this format.
    """
    path = existing(path)
    with _reading(path, 'a safetensors file'), safe_open(path, 'pt') as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        return tensors, json.loads((file.metadata() or {}).get('vptx', '{}'))


def parse_safetensors(content: bytes, where: str | Path) -> tuple[dict[str, Tensor], Any]:
    """As ``read_safetensors``, of the content of a file.

    Raises:
        ValueError: begins with ``where``; truncated, or not of this format.
    """
    with _reading(Path(where), 'a safetensors file'):
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], 'little')])
        return tensors, json.loads((header.get('__metadata__') or {}).get('vptx', '{}'))


def safe_load(path: str | Path, map_location: Any = 'cpu') -> Any:
    """What ``torch.save`` wrote to ``path``: tensors, numbers, strings and containers of them.

    Raises:
        FileNotFoundError: there is no such file.
        PermissionError: this user may not read it.
        MemoryError: it does not fit into the memory, of this machine or of ``map_location``.
        ValueError: the file is truncated, is not of this format, or carries something that could run code; or PyTorch
            is too old to load any safely.
    """
    path = existing(path, 'checkpoint')
    if torch.__version__ < (2, 10):
        # CVE-2025-32434 and CVE-2026-24747: before, a file can get around weights_only=True.
        raise ValueError(
            f'{path} is refused: PyTorch {torch.__version__} cannot load such files safely; install torch>=2.10, or '
            'use .safetensors'
        )
    with path.open('rb') as file:
        zipped = file.read(4) == b'PK\x03\x04'
    if zipped:
        check_zip(path)
    with _reading(path, 'a file of torch.save'):
        try:
            with torch.serialization.safe_globals(_INERT):
                return torch.load(path, map_location=map_location, weights_only=True)
        except UnpicklingError as error:
            # torch wraps what it found in advice on how to load the file all the same.
            found = re.split(r'WeightsUnpickler error:|from a trusted source\.', str(error))[-1].strip()
            reason = found.split('\n')[0].split('. Please')[0]
    if 'weights_only' in reason:  # nothing but that advice
        reason = 'no pickle that could be understood'
    if not re.search(r'getattr\(|[Gg]lobal|class|function|instantiate|build|blocked', reason):
        raise ValueError(f'{path} cannot be read: truncated, or not a file of torch.save ({reason})')
    raise ValueError(
        f'{path} is refused: it is no plain checkpoint of tensors, and loading it could run code ({reason})'
    )


def download(address: str, check_hash: bool = False) -> Path:
    """The file at an address, from its own folder in torch's cache or from the network.

    Its name there has a hash of the whole address: two addresses share no file, and nothing is put where timm and
    torchvision look for their files.

    Args:
        address: ``http://`` or ``https://``.
        check_hash: whether the file must have the hash that its name gives, as in ``vit-b3be5167.pth``.

    Raises:
        OSError: it cannot be downloaded.
    """
    name = Path(urlsplit(address).path).name
    target = Path(torch.hub.get_dir(), 'vptx', f'{sha256(address.encode()).hexdigest()[:16]}_{name}')
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        hashed = torch.hub.HASH_REGEX.search(name) if check_hash else None
        # Writes next to the target and moves the whole file there.
        torch.hub.download_url_to_file(address, str(target), hashed.group(1) if hashed else None)
    return target


def loads_again(content: Any) -> bool:
    """Whether ``safe_load`` reads what ``torch.save`` makes of ``content``."""
    file = io.BytesIO()
    try:
        torch.save(content, file)
        file.seek(0)
        with torch.serialization.safe_globals(_INERT):
            torch.load(file, map_location='cpu', weights_only=True)
    except Exception:  # a class that cannot be pickled fails in ways of its own
        return False
    return True


def write_whole(path: str | Path, content: bytes) -> None:
    """Write ``content`` to a new file next to ``path`` and move it there: a process that dies leaves the old file, or
    the new one, and of two that write at a time one has the last word.

    Raises:
        OSError: the disk is full, or the like; names ``path``, which is as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.name}.{uuid4().hex}.part')
    try:
        with unfinished.open('xb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(error.errno, f'{error.strerror or error}, not written', str(path)) from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # not every file system can
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in this context with the same folder, which is made.

    Where the file system has no locks, a warning says so and no process waits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('w') as lock:
        with _locks_or_warning(folder):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Occupied:
    """Keeps other processes out of a folder, as long as this object, or this process, is there.

    What a killed process left half written there is deleted. Several of these may be in one process.

    Args:
        folder: it is made if it is missing.

    Raises:
        RuntimeError: another process is in the folder; says which.
    """

    _files: WeakValueDictionary = WeakValueDictionary()  # shared, as the first one to be closed frees the lock

    def __init__(self, folder: str | Path) -> None:
        path = Path(folder).resolve() / '.lock'
        path.parent.mkdir(parents=True, exist_ok=True)
        key = os.getpid(), str(path)
        self._file = self._files.get(key)
        if self._file is not None:
            return
        self._file = path.open('a+')
        with _locks_or_warning(path.parent):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # this process's, not that of those it forks
            except (BlockingIOError, PermissionError):
                self._file.seek(0)
                raise RuntimeError(
                    f'another run ({self._file.read().strip()}) is writing to {folder}: wait for its end, or give '
                    'this one a work dir of its own'
                ) from None
            for unfinished in path.parent.glob('.*.part'):
                unfinished.unlink(missing_ok=True)
        self._files[key] = self._file
        self._file.truncate(0)
        self._file.write(f'process {os.getpid()} on {platform.node()}')
        self._file.flush()


@contextmanager
def _locks_or_warning(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL):
            raise
        warnings.warn(
            f'the file system of {folder} has no locks ({error.strerror}): nothing prevents that two processes write '
            'there at a time',
            stacklevel=4,
        )


def digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over names, shapes and values; its first 16 digits."""
    found = sha256()
    for name, tensor in tensors:
        values = tensor.detach().cpu().contiguous()
        found.update(f'{name} {tuple(values.shape)} {values.dtype}'.encode())
        found.update(values.reshape(-1).view(torch.uint8).numpy().data if values.numel() else b'')
    return found.hexdigest()[:16]
