"""What can be wrong with any file, and with what ``torch.save`` or safetensors wrote."""

import gzip
import json
import os
import pickle
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from malice import ATTACKS
from PIL import Image
from safetensors.torch import save_file

from vptx.files import read_safetensors

from .battery import Bait, Spoil

__all__ = [
    'ARRAYS',
    'BYTES',
    'NO_FILES',
    'NO_NUMBER',
    'NPY',
    'NUMBERS',
    'OBJECTS',
    'PICKLES',
    'SAFETENSORS',
    'baited',
    'change',
    'content',
    'drop',
    'each',
    'header',
    'instead',
    'put',
]


# Bytes.


def content(make: bytes | Callable[[bytes], bytes]) -> Spoil:
    """Other bytes, or what becomes of those of a good file."""

    def spoil(path: Path, bait: Bait) -> None:
        path.write_bytes(make if isinstance(make, bytes) else make(path.read_bytes()))

    return spoil


def instead(make: Callable[[Path], None]) -> Spoil:
    """Something else of that name."""

    def spoil(path: Path, bait: Bait) -> None:
        path.unlink()
        make(path)

    return spoil


def picture() -> bytes:
    drawn = BytesIO()
    Image.new('RGB', (8, 8), 'red').save(drawn, 'PNG')
    return drawn.getvalue()


def archive() -> bytes:
    drawn = BytesIO()
    with ZipFile(drawn, 'w') as file:
        file.writestr('readme.txt', 'nothing')
    return drawn.getvalue()


def _flipped(whole: bytes) -> bytes:
    """A byte in the middle is another."""
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]


BYTES: dict[str, Spoil] = {
    'empty': content(b''),
    'one byte': content(b'\x80'),
    'half of it': content(lambda whole: whole[: len(whole) // 2]),
    'without its last bytes': content(lambda whole: whole[:-9]),
    'without its first bytes': content(lambda whole: whole[9:]),
    'only zeros': content(lambda whole: bytes(len(whole))),
    'noise': content(lambda whole: np.random.default_rng(0).bytes(len(whole))),
    'text': content(b'This is no such file.\n'),
    'a page of a web server': content(b'<!DOCTYPE html><html><title>404</title></html>'),
    'a pointer of git lfs': content(b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n'),
    'a picture': content(picture()),
    'an archive of something else': content(archive()),
    'compressed': content(gzip.compress),
    'JSON': content(b'{"epoch": 3}'),
    'not there': instead(lambda path: None),
    'a folder': instead(lambda path: path.mkdir()),
    'a link to nothing': instead(lambda path: path.symlink_to(path.parent / 'nothing')),
    'a link to itself': instead(lambda path: path.symlink_to(path)),
    'a pipe': instead(lambda path: os.mkfifo(path)),
}


NO_FILES = ('not there', 'a folder', 'a link to nothing', 'a link to itself', 'a pipe')


# What torch.save or safetensors wrote, as one dictionary: state_dict and meta, where a prompt file has its facts in
# meta/vptx.


def _read(path: Path) -> dict[str, Any]:
    if path.suffix == '.safetensors':
        tensors, facts = read_safetensors(path)
        return dict(state_dict=tensors, meta=dict(vptx=facts))
    return torch.load(path, weights_only=False)


def _write(path: Path, found: dict[str, Any]) -> None:
    if path.suffix == '.safetensors':
        facts = found['meta'].get('vptx')
        tensors = {name: tensor.contiguous().clone() for name, tensor in found['state_dict'].items()}
        save_file(tensors, path, {} if facts is None else {'vptx': json.dumps(facts)})
    else:
        torch.save(found, path)


def change(edit: Callable[[dict[str, Any]], Any]) -> Spoil:
    """What is in the file, changed in place, or another thing."""

    def spoil(path: Path, bait: Bait) -> None:
        found = _read(path)
        made = edit(found)
        _write(path, found if made is None else made)

    return spoil


def _holder(found: Any, where: str) -> tuple[Any, Any]:
    """What holds the place ``'meta/vptx/format'``, and under which key."""
    *way, last = (int(part) if part.isdigit() else part for part in where.split('/'))
    for part in way:
        found = found[part]
    return found, last


def put(where: str, value: Any) -> Spoil:
    """Another value there; a function makes it from the old one."""

    def edit(found: dict[str, Any]) -> None:
        holder, key = _holder(found, where)
        holder[key] = value(holder[key]) if callable(value) else value

    return change(edit)


def drop(where: str) -> Spoil:
    """Nothing there."""

    def edit(found: dict[str, Any]) -> None:
        holder, key = _holder(found, where)
        del holder[key]

    return change(edit)


def baited(where: str, make: Callable[[Bait], Any]) -> Spoil:
    """A value there that names what nothing may touch."""

    def spoil(path: Path, bait: Bait) -> None:
        put(where, make(bait))(path, bait)

    return spoil


def each(name: str, where: str, values: dict[str, Any]) -> dict[str, Spoil]:
    """Each of the values there, by names such as ``'epoch: NaN'``."""
    return {f'{name}: {what}': put(where, value) for what, value in values.items()}


#: What a number, or a thing of many parts, may be instead.
NO_NUMBER: dict[str, Any] = {'a word': 'two', 'None': None, 'NaN': float('nan'), 'a list': [1], 'negative': -2}


def _filled(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def fill(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[1] = value
        return tensor

    return fill


#: What a tensor may be, in any format: numbers that are none, of another type or shape.
NUMBERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    'NaN': _filled(float('nan')),
    'infinite': _filled(float('inf')),
    'minus infinite': _filled(float('-inf')),
    'too large for 32 bits': lambda tensor: _filled(1e300)(tensor.double()),
    'complex': lambda tensor: torch.complex(tensor, torch.ones_like(tensor)),
    'true or false': lambda tensor: tensor > 0,
    'whole numbers': lambda tensor: (tensor * 100).long(),
    'bytes': lambda tensor: (tensor * 100).byte(),
    'longer': lambda tensor: torch.cat([tensor, tensor[:1]]),
    'shorter': lambda tensor: tensor[:-1].clone(),
    'empty': lambda tensor: tensor[:0].clone(),
    'one number': lambda tensor: tensor.sum(),
    'flat': lambda tensor: torch.cat([tensor.flatten(), torch.zeros(1)]),
}

#: What a tensor may be in a file of ``torch.save``.
OBJECTS: dict[str, Any] = {
    'a number': 1.5,
    'text': 'text',
    'None': None,
    'a list': lambda tensor: tensor.tolist(),
    'sparse': lambda tensor: tensor.to_sparse(),
    'quantized': lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    'without numbers': lambda tensor: tensor.to('meta'),
}


# Pickles that run code.


def _legacy(found: Any, path: Path) -> None:
    torch.save(found, path, _use_new_zipfile_serialization=False)


def _bare(found: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(found))


def pickled(attack: str, write: Callable[[Any, Path], None] = torch.save) -> Spoil:
    def spoil(path: Path, bait: Bait) -> None:
        state = {'evil': ATTACKS[attack](bait.canary), 'weight': torch.zeros(1)}
        write(dict(state_dict=state, meta=dict(vptx=dict(format=1), epoch=1, iter=1)), path)

    return spoil


def _objects(path: Path, bait: Bait) -> None:
    """An array of numpy whose elements are pickled."""
    evil = np.empty(1, dtype=object)
    evil[:] = ATTACKS['open'](bait.canary)
    with path.open('wb') as file:
        np.save(file, evil, allow_pickle=True)


PICKLES: dict[str, Spoil] = {
    'a pickle that runs code': pickled('open'),
    'a pickle that runs code by getattr': pickled('getattr'),
    'a pickle in a pickle': pickled('nested'),
    'an old pickle that runs code': pickled('open', _legacy),
    'a bare pickle that runs code': pickled('open', _bare),
    'an array of pickles': _objects,
}


# Safetensors.


def header(text: bytes, length: int | None = None) -> Spoil:
    """A header of one's own in front of the numbers."""
    return content(struct.pack('<Q', len(text) if length is None else length) + text + bytes(64))


def _tensor(**facts: Any) -> bytes:
    return json.dumps({'a': dict(dict(dtype='F32', shape=[2], data_offsets=[0, 8]), **facts)}).encode()


SAFETENSORS: dict[str, Spoil] = {
    'a header longer than the file': header(b'{}', 10**6),
    'a header of 2**63 bytes': header(b'{}', 2**63),
    'a header that is no JSON': header(b'{"a": '),
    'a header that is a list': header(b'[1, 2]'),
    'a header without an end': header(b'{"a":' * 100_000),
    'a tensor of no known type': header(_tensor(dtype='F31')),
    'a tensor beyond the end': header(_tensor(data_offsets=[0, 10**9], shape=[250_000_000])),
    'a tensor of negative shape': header(_tensor(shape=[-2])),
    'a tensor of more numbers than bytes': header(_tensor(shape=[10**12])),
    'a tensor that ends before it begins': header(_tensor(data_offsets=[8, 0])),
}


# Arrays of numpy, .npy.


def _npy(text: str) -> bytes:
    head = text.encode() + b'\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(head)) + head + bytes(64)


#: Files whose header is not what it should be.
NPY: dict[str, bytes] = {
    'a header that is no dictionary': _npy('[1, 2]'),
    'a header that calls something': _npy("__import__('os')"),
    'a header of 10**13 numbers': _npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**13},)}}"),
    'a header of objects': _npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}"),
    'a header of words': _npy("{'descr': '<U4', 'fortran_order': False, 'shape': (2,)}"),
    'a header of dates': _npy("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (2,)}"),
    'a header of records': _npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}"),
    'a header without a shape': _npy("{'descr': '<f4', 'fortran_order': False}"),
    'a header with a negative shape': _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}"),
    'a header of no known version': b'\x93NUMPY\x09\x00' + bytes(64),
}
ARRAYS: dict[str, Spoil] = {name: content(whole) for name, whole in NPY.items()}
