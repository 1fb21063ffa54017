"""A weight file as named tensors, recognised by its content: an extension is only a habit.

Nothing here runs what a file carries: numpy without pickle, torch with ``weights_only``, safetensors.
"""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vptx.cache import locate
from vptx.files import check_zip, existing, read_arrays, read_safetensors, safe_load
from vptx.tensors import check_layout

__all__ = ['read_tensors', 'weight_file']

# Where a training state keeps its model, first come first served; a self-distilled one (DINO) is its teacher.
_MODEL_KEYS = ('state_dict', 'model', 'teacher')


def weight_file(path: str | Path) -> Path:
    """Find a file of weights.

    Args:
        path: The path of the file, or ``'real://NAME'`` for what ``make real`` has fetched.

    Returns:
        The path of the file.

    Raises:
        FileNotFoundError: There is no such file. The message says where it was looked for and how to get it.
    """
    file = locate(path)
    if not file.is_file():
        raise FileNotFoundError(
            f'there is no weight file {file.absolute()}. Put it there, give another path as weights=..., or name '
            "weights that timm downloads: weights='timm://vit_base_patch16_224.orig_in21k'"
        )
    return existing(file)


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the named tensors of a file. Numbers of 16 and 64 bits become numbers of 32 bits.

    Args:
        path: A ``.npz``, ``.safetensors`` or PyTorch file. Of a whole training state, the tensors of the model are
            read.

    Returns:
        The tensors by name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is truncated, has none of these formats, has no tensors or several models, or carries code.
    """
    path = weight_file(path)
    with path.open('rb') as file:
        head = file.read(16)
    if head.startswith(b'PK\x03\x04'):
        members = check_zip(path)
        if all(name.endswith('.npy') for name in members):
            tensors = read_arrays(path)
        elif any('/code/' in name for name in members):
            raise ValueError(
                f'{path} is a TorchScript program, as OpenAI publishes CLIP, and is not run. Save its state_dict() '
                "where you trust it, or name timm's copy: weights='timm://vit_base_patch16_clip_224.openai'"
            )
        else:
            tensors = _read_torch(path)
    elif head.startswith(b'\x80'):  # a bare pickle: torch.save before PyTorch 1.6
        tensors = _read_torch(path)
    elif head[8:9] == b'{':
        tensors, _ = read_safetensors(path)
    else:
        raise ValueError(
            f'{path} is no weight file: expected numpy .npz, PyTorch or safetensors, found {path.stat().st_size} bytes '
            f'that begin with {head!r}'
        )
    check_layout(tensors, path)
    return {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}


def _read_torch(path: Path) -> dict[str, Tensor]:
    # The arguments of a command line, which training states often hold; inert.
    with torch.serialization.safe_globals([Namespace]):
        found = safe_load(path)
    seen: list[Any] = []
    while isinstance(found, Mapping):
        if any(found is before for before in seen):
            raise ValueError(f'{path} holds a model that is inside itself: save the state_dict() of the model alone')
        seen.append(found)
        key = _model_key(found, path)
        if key is None:
            return {str(name): value.detach() for name, value in found.items() if isinstance(value, Tensor)}
        found = found[key]
    raise ValueError(f'{path} holds a {type(found).__name__}, not named tensors')


def _model_key(found: Mapping, path: Path) -> Any:
    """Under which key of ``found`` the model is; None if ``found`` is the model.

    Raises:
        ValueError: no tensors, or several models.
    """
    for key in _MODEL_KEYS:
        if isinstance(found.get(key), Mapping):
            return key
    if any(isinstance(value, Tensor) for value in found.values()):
        return None
    models = [
        key
        for key, value in found.items()
        if isinstance(value, Mapping) and any(isinstance(part, Tensor) for part in value.values())
    ]
    if len(models) == 1:
        return models[0]
    if models:
        raise ValueError(
            f'{path} holds tensors under {", ".join(map(str, models))}, and none of these is called '
            f'{" or ".join(_MODEL_KEYS)}: save the one you want as a file of its own'
        )
    raise ValueError(f'{path} holds no tensors, only {", ".join(map(str, list(found)[:8])) or "nothing"}')
