"""Networks of inverted residuals, whose published files number the blocks through all stages: EfficientNet-PyTorch's
EfficientNet and EfficientNet-Lite (``_blocks.3._expand_conv.weight``) and torchvision's MobileNetV2, with its older
names too (``features.3.conv.0.0.weight``, ``features.3.conv.0.weight``). timm counts them within a stage.

https://github.com/lukemelas/EfficientNet-PyTorch, ``efficientnet_pytorch/model.py``, and
https://github.com/pytorch/vision, ``torchvision/models/mobilenetv2.py``. A block that does not widen its input lacks
the first convolution.
"""

import re
from collections.abc import Collection, Mapping

from torch import Tensor, nn

from .rename import Rules, rename

NAME = "EfficientNet-PyTorch's and torchvision's names of inverted residuals"

_WIDENS = ('conv_pw', 'bn1', 'conv_dw', 'bn2', 'conv_pwl', 'bn3')
_KEEPS = ('conv_dw', 'bn1', 'conv_pw', 'bn2')
_OTHERS: Rules = [
    (r'^_conv_stem\.|^features\.0\.0\.', 'conv_stem.'),
    (r'^_bn0\.|^features\.0\.1\.', 'bn1.'),
    (r'^_conv_head\.|^features\.\d+\.0\.', 'conv_head.'),
    (r'^_bn1\.|^features\.\d+\.1\.', 'bn2.'),
    (r'^_fc\.|^classifier\.1\.', 'classifier.'),
]
#: Parts of a block of EfficientNet-PyTorch, in the order in which they act.
_PARTS = ('_expand_conv', '_bn0', '_depthwise_conv', '_bn1', '_project_conv', '_bn2')
_SQUEEZE: Rules = [(r'^_se_reduce$', 'se.conv_reduce'), (r'^_se_expand$', 'se.conv_expand')]
_FIRST = re.compile(r'_conv_stem\.weight$|features\.1\.conv\.0\.(?:0\.)?weight$')
_BLOCK = re.compile(r'^(?:_blocks\.(\d+)|features\.(\d+)\.conv)\.(.+)\.(\w+)$')


def knows(names: Collection[str]) -> bool:
    return any(_FIRST.match(name) for name in names)


def convert(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """
    Raises:
        ValueError: a block of other parts than an inverted residual has.
    """
    places = [f'blocks.{i}.{j}' for i, stage in enumerate(getattr(model, 'blocks', ())) for j, _ in enumerate(stage)]
    parts: dict[int, set[str]] = {}
    for name in tensors:
        if found := _BLOCK.match(name):
            parts.setdefault(_number(found), set()).add(found[3])
    renamed = {}
    for name, tensor in tensors.items():
        if found := _BLOCK.match(name):
            number = _number(found)
            place = places[number] if number < len(places) else f'blocks.{number}'
            name = f'{place}.{_part(found[3], parts[number])}.{found[4]}'
        renamed[name] = tensor
    return rename(renamed, _OTHERS)


def _number(found: re.Match) -> int:
    """Of a block, from 0; torchvision counts the stem too."""
    return int(found[1]) if found[1] else int(found[2]) - 1


def _part(name: str, others: set[str]) -> str:
    """timm's name of a part of a block that has all of these."""
    squeezed = {old: new for old in others for pattern, new in _SQUEEZE if re.match(pattern, old)}
    if name in squeezed:
        return squeezed[name]
    parts = others - squeezed.keys()
    timm_names = {len(known): known for known in (_WIDENS, _KEEPS)}.get(len(parts))
    numbered = all(re.fullmatch(r'\d+(\.\d+)*', part) for part in parts)
    if timm_names is None or not (numbered or parts <= {*_PARTS}):
        raise ValueError(f'a block of the parts {", ".join(sorted(others))} is no inverted residual')
    order = sorted(parts, key=lambda part: [*map(int, part.split('.'))] if numbered else [_PARTS.index(part)])
    return timm_names[order.index(name)]
