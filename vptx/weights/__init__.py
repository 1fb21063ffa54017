"""Public checkpoint formats in: files of tensors, read without running any code they may carry."""

from collections.abc import Mapping
from pathlib import Path

from mmengine.logging import print_log
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vptx.files import safe_load

__all__ = ['load_tensors', 'read_tensors', 'weight_file']


def weight_file(path: str) -> Path:
    """The file at ``path``.

    Raises:
        FileNotFoundError: says where it was looked for and how to get it.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(
            f'there is no weight file {file.absolute()}. Put it there, give another path as weights=..., or name '
            "weights that timm downloads: weights='timm://vit_base_patch16_224.orig_in21k'"
        )
    return file


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The named tensors of a ``.safetensors`` file or of what ``torch.save`` wrote.

    Raises:
        ValueError: truncated, of neither format, without tensors, or carrying code.
    """
    if path.suffix == '.safetensors':
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f'{path} cannot be read: truncated, or not a safetensors file ({error})') from error
    found = safe_load(path)
    for key in ('state_dict', 'model'):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise ValueError(f'{path} holds a {type(found).__name__}, not named tensors')
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f'{path} holds no tensors, only {", ".join(map(str, list(found)[:8]))}')
    return tensors


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load ``tensors`` into ``model`` and log how many were used and which were not.

    Raises:
        ValueError: a tensor of the model that is missing or has another shape.
    """
    own = model.state_dict()
    missing = [name for name in own if name not in tensors]
    shapes = [
        f'{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}'
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    for fault, names in (('lacks', missing), ('has the wrong shapes:', shapes)):
        if names:
            raise ValueError(f'{path} {fault} {", ".join(names[:5])}{f" and {len(names) - 5} more" * (len(names) > 5)}')
    dropped = [name for name in tensors if name not in own]
    model.load_state_dict({name: tensors[name] for name in own})
    print_log(f'{path}: {len(own)} tensors loaded' + (f', not used: {", ".join(dropped)}' if dropped else ''), 'current')
