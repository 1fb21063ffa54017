"""The inverse: the backbone of a pre-training run, in the public format of its objective and in 16-bit numbers.

What was trained here so goes through the same converters as what others publish:

* supervision: Google's ``.npz``, with the classifier, whose classes a label mapping can read as others;
* MAE: ``{'model': ...}`` in MAE's names, a ``.pth``;
* MoCo v3: ``{'epoch', 'arch', 'state_dict': 'module.base_encoder...'}``, a ``.pth.tar``. The momentum
  encoder, which is there in the authors' files and is not needed, is left out.
"""

import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vptx.files import safe_load, write_whole

from .layouts import mm_vit
from .layouts.rename import Rules, rename
from .read import read_tensors

__all__ = ['export_backbone', 'to_google']

_PROMPTED, _STOCK, _HEAD = 'backbone.net.model.', 'backbone.', 'head.fc.'
_BLOCK = r'^blocks\.(\d+)\.'
_TO_GOOGLE: Rules = [
    (r'^cls_token$', 'cls'),
    (r'^pos_embed$', 'Transformer/posembed_input/pos_embedding'),
    (r'^patch_embed\.proj\.', 'embedding/'),
    (r'^norm\.', 'Transformer/encoder_norm/'),
    (r'^head\.', 'head/'),
    (_BLOCK + r'norm1\.', r'Transformer/encoderblock_\1/LayerNorm_0/'),
    (_BLOCK + r'norm2\.', r'Transformer/encoderblock_\1/LayerNorm_2/'),
    (_BLOCK + r'attn\.proj\.', r'Transformer/encoderblock_\1/MultiHeadDotProductAttention_1/out/'),
    (_BLOCK + r'attn\.(query|key|value)\.', r'Transformer/encoderblock_\1/MultiHeadDotProductAttention_1/\2/'),
    (_BLOCK + r'mlp\.fc1\.', r'Transformer/encoderblock_\1/MlpBlock_3/Dense_0/'),
    (_BLOCK + r'mlp\.fc2\.', r'Transformer/encoderblock_\1/MlpBlock_3/Dense_1/'),
    (r'((?:norm|LayerNorm_\d)/)weight$', r'\1scale'),
    (r'/weight$', '/kernel'),
]


def export_backbone(checkpoint: str | Path, out: str | Path) -> Path:
    """Write the backbone in ``checkpoint``, a run of ``configs/pretrain/``, to ``out`` plus its format's extension.

    Returns:
        The file that was written.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it is unreadable, or of no objective that has a public format here.
    """
    tensors = read_tensors(checkpoint)
    buffer = BytesIO()
    if any(name.startswith('momentum_encoder.') for name in tensors):
        encoder = rename(_halved(tensors, _PROMPTED), [('^', 'module.base_encoder.')])
        epoch = safe_load(checkpoint).get('meta', {}).get('epoch', 0)
        torch.save(dict(epoch=epoch, arch='vit', state_dict=encoder), buffer)
        extension = '.pth.tar'
    elif 'neck.mask_token' in tensors:
        torch.save(dict(model=rename(_halved(tensors, _STOCK), mm_vit.RULES)), buffer)
        extension = '.pth'
    elif any(name.startswith(_PROMPTED) for name in tensors):
        network = _halved(tensors, _PROMPTED) | rename(_halved(tensors, _HEAD), [('^', 'head.')])
        arrays: dict[str, Any] = {k: v.numpy() for k, v in to_google(network).items()}
        np.savez(buffer, **arrays)
        extension = '.npz'
    else:
        raise ValueError(
            f'{checkpoint} is no run of supervision ({_PROMPTED}*), of MAE (neck.mask_token) or of MoCo v3 '
            f'(momentum_encoder.*); it holds {", ".join(list(tensors)[:5])}, ...'
        )
    path = Path(f'{out}{extension}')
    write_whole(path, buffer.getvalue())
    return path


def to_google(tensors: Mapping[str, Tensor], head_width: int = 64) -> dict[str, Tensor]:
    """A ViT from timm's names to Google's; the inverse of ``layouts/google.py``.

    Args:
        head_width: D / heads, which timm's tensors do not show; 64 in every public ViT up to L.

    Raises:
        ValueError: a tensor that Google's ViT does not have.
    """
    apart: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if '.attn.qkv.' in name:
            parts = zip(('query', 'key', 'value'), value.chunk(3), strict=True)
            apart |= {name.replace('qkv', part): chunk for part, chunk in parts}
        else:
            apart[name] = value
    converted = rename({name: _turned(name, value, head_width) for name, value in apart.items()}, _TO_GOOGLE)
    strange = [name for name in converted if re.search(r'^\w+\.', name)]
    if strange:
        raise ValueError(f"Google's ViT has no {', '.join(strange[:5])}")
    return converted


def _turned(name: str, value: Tensor, head_width: int) -> Tensor:
    """Kernels (in, out) and (height, width, in, out); queries, keys and values (D, heads, D / heads)."""
    if name.endswith('.weight') and value.dim() > 1:
        value = value.permute(2, 3, 1, 0) if value.dim() == 4 else value.T
        if '.attn.proj.' in name:
            value = value.unflatten(0, (-1, head_width))
    if re.search(r'\.attn\.(query|key|value)\.', name):
        value = value.unflatten(-1, (-1, head_width))
    return value.contiguous()


def _halved(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """What begins with ``prefix``, without it, in 16-bit numbers."""
    return {name.removeprefix(prefix): value.half() for name, value in tensors.items() if name.startswith(prefix)}
