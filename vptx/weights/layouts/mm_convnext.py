"""OpenMMLab's ConvNeXt and ConvNeXt V2: ``stages.0.0.depthwise_conv.weight``.

https://github.com/open-mmlab/mmpretrain, ``mmpretrain/models/backbones/convnext.py``, which mmseg takes too.
"""

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from .rename import Rules, rename

NAME = "OpenMMLab's ConvNeXt"

_RULES: Rules = [
    (r'^downsample_layers\.0\.', 'stem.'),
    (r'^downsample_layers\.(\d+)\.', r'stages.\1.downsample.'),
    (r'^stages\.(\d+)\.(\d+)\.', r'stages.\1.blocks.\2.'),
    (r'\.depthwise_conv\.', '.conv_dw.'),
    (r'\.pointwise_conv(\d)\.', r'.mlp.fc\1.'),
    (r'\.grn\.gamma$', '.mlp.grn.weight'),
    (r'\.grn\.beta$', '.mlp.grn.bias'),
    (r'^norm3\.', 'head.norm.'),  # of mmseg's four norms, one for each stage, ConvNeXt's own
]


def knows(names: Collection[str]) -> bool:
    return any('.depthwise_conv.' in name for name in names)


def convert(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    own = model.state_dict()
    converted = rename(tensors, _RULES)
    # A layer of the MLP is a Linear (out, in) or a convolution (out, in, 1, 1), as each side likes.
    for name, value in converted.items():
        if '.mlp.fc' in name and name in own and own[name].numel() == value.numel():
            converted[name] = value.reshape(own[name].shape)
    return converted
