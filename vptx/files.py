"""Files read without running code they may carry, and written whole or not at all."""

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

__all__ = ['safe_load', 'write_whole']

_core = np._core if hasattr(np, '_core') else np.core
# MMEngine's own checkpoints hold log histories: inert classes around numpy arrays. Nothing that can call anything.
_INERT = [
    HistoryBuffer,
    np.ndarray,
    np.dtype,
    _core.multiarray._reconstruct,
    _core.multiarray.scalar,
    *{type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.uint8, np.bool_)},
]


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
        reason = str(error).split('. This file can still be loaded')[0].split('Please file an issue')[0].strip()
        raise ValueError(
            f'{path} is refused: it is no plain checkpoint of tensors, and loading it could run code ({reason})'
        ) from error
    except (RuntimeError, EOFError, BadZipFile, OSError) as error:
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
