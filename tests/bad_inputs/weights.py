"""Weights of a backbone: ``weights=`` of a network, whatever the format."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import torch
from runs import net, runner
from safetensors.torch import save_file

from vptx.backbones import TimmViT
from vptx.weights.export import to_google

from .battery import Bait, Kind, Spoil
from .prompt_files import state_of
from .spoils import BYTES, NPY, NUMBERS, OBJECTS, PICKLES, SAFETENSORS, change, drop, each, put

OPTIONS = {name: value for name, value in net().items() if name != 'type'}
TENSOR = 'blocks.1.mlp.fc2.bias'


@cache
def tensors() -> dict[str, torch.Tensor]:
    """Of a small ViT, in timm's names."""
    torch.manual_seed(0)
    return TimmViT(**OPTIONS).model.state_dict()


# Doors.


def built(path: Path, work: Path) -> Any:
    return state_of(TimmViT(**OPTIONS, weights=str(path)).model)


def run(path: Path, work: Path) -> Any:
    made = runner(work, **{'model.backbone.net': net(weights=str(path)), 'train_cfg.max_epochs': 1})
    made.train()
    return state_of(made.model)


DOORS = {'TimmViT(weights=)': built, 'weights= in a run': run}


# What torch.save wrote.


def write_torch(folder: Path) -> Path:
    path = folder / 'weights.pth'
    torch.save(dict(state_dict=dict(tensors()), epoch=3), path)
    return path


def _circle(found: dict) -> None:
    found['state_dict']['model'] = found['state_dict']


def _script(path: Path, bait: Bait) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


ANY = {
    'no tensors': change(lambda found: found['state_dict'].clear()),
    'a tensor is missing': drop(f'state_dict/{TENSOR}'),
    'a tensor too many': put('state_dict/blocks.2.mlp.fc2.bias', torch.zeros(32)),
    'a tensor by another name': change(lambda found: found['state_dict'].update(bias=found['state_dict'].pop(TENSOR))),
    'the names of another network': change(
        lambda found: found.update(state_dict={f'bert.{name}': t for name, t in found['state_dict'].items()})
    ),
    'a layer more': change(
        lambda found: found['state_dict'].update(
            {n.replace('.1.', '.2.'): t for n, t in found['state_dict'].items() if n.startswith('blocks.1.')}
        )
    ),
    'turned': put('state_dict/blocks.0.mlp.fc1.weight', lambda tensor: tensor.T.contiguous()),
    **each('a tensor', f'state_dict/{TENSOR}', NUMBERS),
    **each('positions', 'state_dict/pos_embed', {name: NUMBERS[name] for name in ('NaN', 'complex', 'empty', 'flat')}),
}

TORCH = Kind(
    'weights .pth',
    write_torch,
    {
        **BYTES,
        **PICKLES,
        **ANY,
        **each('a tensor is', f'state_dict/{TENSOR}', OBJECTS),
        'a list': change(lambda found: [found]),
        'a tensor': change(lambda found: torch.zeros(3)),
        'a number': change(lambda found: 3),
        'an empty dictionary': change(lambda found: {}),
        'several models': change(lambda found: {'student': found['state_dict'], 'teacher_1': found['state_dict']}),
        'itself inside': change(_circle),
        'keys that are numbers': put('state_dict', lambda state: dict(enumerate(state.values()))),
        'a program': _script,
    },
    DOORS,
)


# Safetensors.


def write_safetensors(folder: Path) -> Path:
    path = folder / 'weights.safetensors'
    save_file(tensors(), path)
    return path


SAFE = Kind('weights .safetensors', write_safetensors, {**BYTES, **PICKLES, **SAFETENSORS, **ANY}, DOORS)


# Google's arrays.


def write_npz(folder: Path) -> Path:
    path = folder / 'weights.npz'
    np.savez(path, **{name: tensor.numpy() for name, tensor in to_google(tensors(), head_width=16).items()})
    return path


KERNEL = 'Transformer/encoderblock_1/MlpBlock_3/Dense_1/bias'


def arrays(edit: Callable[[dict[str, np.ndarray]], Any]) -> Spoil:
    def spoil(path: Path, bait: Bait) -> None:
        with np.load(path) as file:
            found = dict(file)
        edit(found)
        np.savez(path, **found)

    return spoil


def array(make: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    return arrays(lambda found: found.update({KERNEL: make(found[KERNEL])}))


def member(name: str, content: bytes) -> Spoil:
    """Another file in the archive, or in the place of one."""

    def spoil(path: Path, bait: Bait) -> None:
        with ZipFile(path) as archive:
            found = {other: archive.read(other) for other in archive.namelist()}
        with ZipFile(path, 'w', ZIP_DEFLATED) as archive:
            for other, old in {**found, name: content}.items():
                archive.writestr(other, old)

    return spoil


def _flagged(local: int, central: int, value: int) -> Spoil:
    """A number of the archive's headers is another: that far from the sign of a member, here and in the directory."""

    def spoil(path: Path, bait: Bait) -> None:
        whole = bytearray(path.read_bytes())
        for sign, offset in ((b'PK\x03\x04', local), (b'PK\x01\x02', central)):
            place = whole.find(sign)
            while place >= 0:
                whole[place + offset] = value
                place = whole.find(sign, place + 4)
        path.write_bytes(bytes(whole))

    return spoil


def _like(make: Callable[[torch.Tensor], torch.Tensor], found: np.ndarray) -> np.ndarray:
    return make(torch.from_numpy(found)).numpy()


ARRAYS = {
    'no arrays': arrays(dict.clear),
    'an array is missing': arrays(lambda found: found.pop(KERNEL)),
    'an array by another name': arrays(lambda found: found.update(bias=found.pop(KERNEL))),
    **{f'an array: {what}': array(partial(_like, make)) for what, make in NUMBERS.items()},
    'an array: words': array(lambda a: a.astype('U8')),
    'an array: dates': array(lambda a: np.zeros(a.shape, 'M8[s]')),
    'an array: records': array(lambda a: np.zeros(a.shape, [('a', 'f4')])),
    'an array: objects': array(lambda a: a.astype(object)),
    **{f'an array: {what}': member(f'{KERNEL}.npy', whole) for what, whole in NPY.items()},
    'an array: text': member(f'{KERNEL}.npy', b'no array'),
    'encrypted': _flagged(6, 8, 1),
    'packed by a method that nobody knows': _flagged(8, 10, 95),
}

NUMPY = Kind('weights .npz', write_npz, {**BYTES, **PICKLES, **ARRAYS}, DOORS)
