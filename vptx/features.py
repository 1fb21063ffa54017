"""Features of images on disk: written whole or not at all, read by any number of processes at the same time.

    <folder>/features.npy    (n, F): row i is what a network made of image i, flattened
    <folder>/about.json      of what they are features, their shapes, the images' labels and names, a check sum

Numbers and JSON: nothing in it can run code.
"""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

__all__ = ['Features', 'read_features', 'write_features']

ROWS, ABOUT = 'features.npy', 'about.json'


@dataclass(frozen=True)
class Features:
    """What a network made of n images.

    Attributes:
        rows: (n, F), mapped from the file: what nobody asks for takes no memory.
        shapes: of the tensors that a row holds, one after the other.
        dtype: of these.
        samples: what the data set says of each image beside its pixels, plain JSON types.
    """

    rows: np.ndarray
    shapes: list[tuple[int, ...]]
    dtype: torch.dtype
    samples: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """The tensors of an image, without a batch dimension."""
        row = torch.from_numpy(np.array(self.rows[index])).view(self.dtype)
        ends = np.cumsum([0, *(prod(shape) for shape in self.shapes)])
        return tuple(row[a:b].view(shape) for (a, b), shape in zip(pairwise(ends), self.shapes, strict=True))


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
    """What :func:`write_features` wrote.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is damaged, or holds features of something else.
    """
    try:
        told = json.loads((folder / ABOUT).read_text())
        rows = np.load(folder / ROWS, mmap_mode='r', allow_pickle=False)
        check = sha256(np.ascontiguousarray(rows).data)
        check.update(told['content'].encode())
        if check.hexdigest() != told['sha256']:
            raise ValueError('its check sum does not agree')
        content = json.loads(told['content'])
    except FileNotFoundError:
        if folder.is_dir():
            raise ValueError(f'{folder} is damaged: a file of it is gone') from None
        raise
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, OSError) as error:
        raise ValueError(f'{folder} is damaged: {error}') from error
    if content['about'] != json.loads(json.dumps(about)):
        raise ValueError(f'{folder} holds features of something else')
    return Features(
        rows, [tuple(shape) for shape in content['shapes']], getattr(torch, content['dtype']), content['samples']
    )
