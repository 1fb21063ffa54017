"""OpenMMLab's ResNetV1c and V1d, whose stem has three convolutions: ``stem.0.weight``. A plain one has
torchvision's names.

https://github.com/open-mmlab/mmpretrain, ``mmpretrain/models/backbones/resnet.py``, and mmseg's of the same name; the
same networks as timm's ``resnet50c`` and ``resnet50d``. Their ``style='caffe'``, a stride at another place, does not
show in the tensors: timm's networks are ``style='pytorch'``.
"""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from .rename import Rules, rename

NAME = "OpenMMLab's ResNet with a deep stem"

# mmpretrain's convolutions each have their norm inside, mmseg's next to them.
_STEM: Rules = [
    (r'^stem\.0\.conv\.', 'stem.0.'),
    (r'^stem\.0\.bn\.', 'stem.1.'),
    (r'^stem\.1\.conv\.', 'stem.3.'),
    (r'^stem\.1\.bn\.', 'stem.4.'),
    (r'^stem\.2\.conv\.', 'stem.6.'),
    (r'^stem\.2\.bn\.', 'stem.7.'),
    (r'^stem\.7\.', 'bn1.'),
    (r'^stem\.', 'conv1.'),
]
# V1d pools before its shortcuts; timm counts that pooling also in the first stage, where there is nothing to pool.
_POOLED: Rules = [
    (r'^layer1\.0\.downsample\.1\.', 'layer1.0.downsample.2.'),
    (r'^(layer1\.0\.downsample)\.0\.', r'\1.1.'),
]


def knows(names: Collection[str]) -> bool:
    return 'layer1.0.conv1.weight' in names and any(name.startswith('stem.') for name in names)


def convert(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    pooled = any(name.startswith('layer2.0.downsample.2.') for name in tensors)
    return rename(tensors, [*_STEM, *_POOLED] if pooled else _STEM)
