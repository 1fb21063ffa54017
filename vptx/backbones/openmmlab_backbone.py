"""Backbones of mmpretrain and of mmsegmentation that have no file of their own: ResNet, HRNet, TIMMBackbone, ...

Nothing is imported from either library: a model that is here has imported it. With or without a prompter, such a
backbone gives its own tuple, so that the neck and the head of its config stay as they are.
"""

import sys
from typing import Any, ClassVar

from torch import nn

from vptx.backbones.base import count_channels, is_a, measure_stem
from vptx.backbones.whole import WholeNet
from vptx.geometry import Geometry
from vptx.registry import NETS

_LIBRARIES = ('mmpretrain', 'mmseg')


@NETS.register_module()
class OpenMMLabBackbone(WholeNet):
    """Any other backbone of mmpretrain or mmsegmentation, by its image, with its own tuple.

    Args:
        model: a backbone, built.
        img_size: height and width of the images to come, in pixels, by default its attribute ``img_size``, or the size
            of the ``data_preprocessor`` around it, or 224. Prompts around an image, or in further
            channels, are made for one size.
    """

    example: ClassVar[dict[str, Any]] = dict(model=dict(type='mmpretrain.ResNet', depth=18))
    what = "mmpretrain's and mmsegmentation's backbones"

    def __init__(self, model: nn.Module, img_size: int | tuple[int, int] | None = None) -> None:
        super().__init__(model)
        size = img_size or getattr(model, 'img_size', None) or 224
        self.geometry = Geometry(
            name=f'{type(model).__module__.partition(".")[0]}.{type(model).__name__}',
            widths=(),
            patch=(1, 1),
            image=(size, size) if isinstance(size, int) else tuple(size),
            prefix=0,
            tokens=0,
            mean=(),  # the data preprocessor of the model around it knows
            std=(),
            doors=frozenset({'image', 'logits'}),
            stem=measure_stem(model, self.stem),
            channels=count_channels(model, self.stem),
        )

    @classmethod
    def is_one(cls, model: nn.Module) -> bool:
        if is_a(model, 'mmpretrain.models.backbones.base_backbone.BaseBackbone'):
            return True
        packages = (sys.modules.get(f'{library}.models.backbones') for library in _LIBRARIES)
        exported = (getattr(package, name) for package in packages if package for name in package.__all__)
        return isinstance(model, tuple(exported))
