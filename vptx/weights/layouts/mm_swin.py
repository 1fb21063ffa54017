"""OpenMMLab's Swin, mmpretrain's and mmseg's: ``stages.0.blocks.0.attn.w_msa.qkv.weight``.

https://github.com/open-mmlab/mmpretrain, ``mmpretrain/models/backbones/swin_transformer.py``. It merges four patches
into one in another order than Swin's authors and timm do: channel by channel, and within one row by row; that of
mmpretrain is patch by patch, column by column.
"""

import re
from collections.abc import Collection, Mapping

from torch import Tensor, nn

from .rename import Rules, rename

NAME = "OpenMMLab's Swin"

_RULES: Rules = [
    (r'^patch_embed\.projection\.', 'patch_embed.proj.'),
    (r'^stages\.', 'layers.'),
    (r'\.attn\.w_msa\.', '.attn.'),
    (r'\.ffn\.layers\.0\.0\.', '.mlp.fc1.'),
    (r'\.ffn\.layers\.1\.', '.mlp.fc2.'),
]


def knows(names: Collection[str]) -> bool:
    return any('.attn.w_msa.' in name for name in names)


def convert(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    last = max(int(name.split('.')[1]) for name in tensors if name.startswith('stages.'))
    # Only the last of mmseg's norms, one for each stage, is Swin's own.
    renamed = rename(tensors, [*_RULES, (rf'^norm{last}\.', 'norm.')])
    return {_next_stage(name): _merged(name, value) for name, value in renamed.items()}


def _next_stage(name: str) -> str:
    """Patches are merged at the end of a stage there, at the beginning of the next one in timm."""
    return re.sub(r'^layers\.(\d+)\.downsample', lambda stage: f'layers.{int(stage[1]) + 1}.downsample', name)


def _merged(name: str, value: Tensor) -> Tensor:
    """(..., 4C) ordered (C, row, column) -> (column, row, C)."""
    if '.downsample.' not in name:
        return value
    return value.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3)
