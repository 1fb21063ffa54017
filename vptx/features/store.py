"""Features of images on disk: written atomically, read by any number of processes at the same time.

    <folder>/features.npy    (n, F): row i is what a network made of image i, flattened
    <folder>/about.json      of what they are features, their shapes, the images' labels and names, a check sum

Numbers and JSON: nothing in it can run code.
"""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from vptx.files import existing, read_json

__all__ = ['DTYPES', 'Features', 'read_features', 'write_features']

ROWS, ABOUT = 'features.npy', 'about.json'
#: What tensors may be, by the names that are kept.
DTYPES = {
    str(kind).removeprefix('torch.'): kind
    for kind in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
    )
}


def _in_numpy(dtype: torch.dtype) -> np.dtype:
    """numpy knows no bfloat16: it is kept as two bytes of a whole number."""
    return torch.empty(0, dtype=torch.int16 if dtype == torch.bfloat16 else dtype).numpy().dtype


@dataclass(frozen=True)
class Features:
    """What a network made of n images.

    Attributes:
        rows: (n, F), mapped from the file: what is not read takes no memory.
        shapes: of the tensors that a row holds, one after the other.
        dtype: of these.
        samples: what the data set says of each image besides its pixels, plain JSON types.
    """

    rows: np.ndarray
    shapes: list[tuple[int, ...]]
    dtype: torch.dtype
    samples: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """The tensors of an image, without a batch dimension."""
        return tuple(tensor[0] for tensor in self.take([index]))

    def take(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """The tensors of several images, (B, ...)."""
        rows = torch.from_numpy(np.asarray(self.rows)[np.asarray(indices, dtype=int)]).view(self.dtype)
        parts = rows.split([prod(shape) for shape in self.shapes], dim=1)
        return tuple(part.reshape(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True))


def write_features(
    folder: Path, about: dict[str, Any], number: int, batches: Iterable[tuple[tuple[Tensor, ...], list[dict]]]
) -> None:
    """Write the features of ``number`` images, unless another process has done so meanwhile.

    Args:
        folder: is there with all that belongs into it, or is not there.
        about: what they are features of, plain JSON types.
        number: n.
        batches: tensors (B, ...) and B samples each.

    Raises:
        ValueError: other than ``number`` images, or tensors that differ in shape or type.
    """
    unfinished = folder.with_name(f'.{folder.name}.{uuid4().hex}')
    unfinished.mkdir(parents=True)
    try:
        check, kinds = sha256(), set()
        samples: list[dict] = []
        with (unfinished / ROWS).open('wb') as file:
            for tensors, said in batches:
                kinds.add(tuple((tuple(tensor.shape[1:]), tensor.dtype) for tensor in tensors))
                if len(kinds) > 1 or len({tensor.dtype for tensor in tensors}) > 1:
                    raise ValueError(f'features differ in shape or type: {kinds}')
                flat = torch.cat([tensor.detach().cpu().flatten(1) for tensor in tensors], dim=1)
                rows = flat.view(torch.int16 if flat.dtype == torch.bfloat16 else flat.dtype).numpy()
                if not samples:
                    head = dict(descr=rows.dtype.str, fortran_order=False, shape=(number, rows.shape[1]))
                    np.lib.format.write_array_header_1_0(file, head)
                file.write(rows.tobytes())
                check.update(rows.tobytes())
                samples += said
            if len(samples) != number:
                raise ValueError(f'{len(samples)} images came, not {number}')
            file.flush()
            os.fsync(file.fileno())
        ((*kept,),) = kinds
        content = dict(
            about=about,
            shapes=[shape for shape, _ in kept],
            dtype=str(kept[0][1]).removeprefix('torch.'),
            samples=samples,
        )
        text = json.dumps(content)
        check.update(text.encode())
        with (unfinished / ABOUT).open('w') as file:
            file.write(json.dumps(dict(sha256=check.hexdigest(), content=text)))
            file.flush()
            os.fsync(file.fileno())
        try:
            unfinished.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            # Another process was faster: both wrote the same.
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_features(folder: Path, about: dict[str, Any]) -> Features:
    """What ``write_features`` wrote.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is damaged, or holds features of something else.
    """
    try:
        record = read_json(folder / ABOUT)
        if not isinstance(record, dict) or not isinstance(record.get('content'), str):
            raise ValueError(f'{ABOUT} has no content')
        rows = np.load(existing(folder / ROWS), mmap_mode='r', allow_pickle=False)
        check = sha256(np.ascontiguousarray(rows).data)
        check.update(record['content'].encode())
        if check.hexdigest() != record['sha256']:
            raise ValueError('its check sum does not agree')
        content = json.loads(record['content'])
        said, (shapes, dtype, samples) = content['about'], _checked(rows, content)
    except FileNotFoundError:
        if folder.is_dir():
            raise ValueError(f'{folder} is damaged: a file of it is gone') from None
        raise
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, OSError, RecursionError, MemoryError) as error:
        raise ValueError(f'{folder} is damaged: {error}') from error
    if said != json.loads(json.dumps(about)):
        raise ValueError(f'{folder} holds features of something else')
    return Features(rows, shapes, dtype, samples)


def _checked(rows: np.ndarray, content: dict) -> tuple[list[tuple[int, ...]], torch.dtype, list[dict[str, Any]]]:
    """What is said of rows, if it can be said of them: a check sum is as easily forged as the rest."""
    shapes, dtype, samples = content['shapes'], DTYPES[content['dtype']], content['samples']
    sizes = [size for shape in shapes for size in shape]
    if not all(type(size) is int and size > 0 for size in sizes) or rows.ndim != 2:
        raise ValueError(f'shapes {shapes} of rows {rows.shape}')
    if rows.dtype != _in_numpy(dtype) or rows.shape[1] != sum(map(prod, shapes)):
        raise ValueError(f'rows of {rows.shape[1]} {rows.dtype} are no {dtype} of shapes {shapes}')
    if len(samples) != len(rows):
        raise ValueError(f'{len(samples)} samples of {len(rows)} images')
    for sample in samples:
        for values, kind in sample['data'].values():
            if kind not in DTYPES or not isinstance(values, (list, int, float)):
                raise ValueError(f'a sample of type {kind}')
        sample['meta'].keys()
    return [tuple(shape) for shape in shapes], dtype, samples
