"""Files read without running code they may carry, and written whole or not at all."""

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from safetensors import SafetensorError, safe_open
from torch import Tensor

__all__ = ['alone', 'digest', 'read_safetensors', 'safe_load', 'write_whole']

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
    *{type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.uint8, np.bool_)},
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


def write_whole(path: str | Path, content: bytes) -> None:
    """Write ``content`` beside ``path`` and move it there: a process that dies leaves the old file, or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.name}.part')
    with unfinished.open('wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is in this context with the same folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / 'lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """SHA-256 over names, shapes and values; its first 16 digits."""
    found = sha256()
    for name, tensor in tensors:
        values = tensor.detach().cpu().contiguous()
        found.update(f'{name} {tuple(values.shape)} {values.dtype}'.encode())
        found.update(values.reshape(-1).view(torch.uint8).numpy().data if values.numel() else b'')
    return found.hexdigest()[:16]
