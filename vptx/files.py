"""Files read without running code they may carry, and written whole or not at all."""

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
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors import SafetensorError, safe_open
from torch import Tensor

__all__ = ['Occupied', 'alone', 'digest', 'loads_again', 'read_safetensors', 'safe_load', 'write_whole']

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


def read_safetensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The named tensors of a ``.safetensors`` file, and the facts that vptx wrote beside them (none: another's file).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated or is not of this format.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'there is no file {path.absolute()}')
    try:
        with safe_open(path, 'pt') as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            facts = json.loads((file.metadata() or {}).get('vptx', '{}'))
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f'{path} cannot be read: truncated, or not a safetensors file ({error})') from error
    return tensors, facts


def safe_load(path: str | Path, map_location: Any = 'cpu') -> Any:
    """What ``torch.save`` wrote to ``path``: tensors, numbers, strings and containers of them.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is truncated, is not of this format, or carries something that could run code.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f'there is no checkpoint {path.absolute()}')
    try:
        with torch.serialization.safe_globals(_INERT):
            return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        # torch wraps what it found in advice on how to load the file all the same.
        found = re.split(r'WeightsUnpickler error:|from a trusted source\.', str(error))[-1].strip()
        reason = found.split('\n')[0].split('. Please')[0]
        raise ValueError(
            f'{path} is refused: it is no plain checkpoint of tensors, and loading it could run code ({reason})'
        ) from error
    except Exception as error:  # a damaged pickle ends in whatever its damage leads to
        raise ValueError(f'{path} cannot be read: truncated, or not written by torch.save ({error})') from error


def loads_again(content: Any) -> bool:
    """Whether :func:`safe_load` reads what ``torch.save`` makes of ``content``."""
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
    """Write ``content`` to a new file beside ``path`` and move it there: a process that dies leaves the old file, or
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

    Where the file system has no locks, a warning says so and nobody waits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('w') as lock:
        with _locks_or_warning(folder):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Occupied:
    """Keeps other processes out of ``folder``, which is made, as long as this object, or this process, is there; what a
    killed one left half written there is deleted. Several of these may be in one process.

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
