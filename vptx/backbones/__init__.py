"""Backbone wrappers: one file for each family of networks. Only this package and ``vptx.weights`` import timm.

The families are imported when one of them is first asked for, here or in the registry (``families.py``).
"""

import sys
import warnings
from typing import TYPE_CHECKING, Any

from vptx.registry import NETS

from . import timm_registry  # noqa: F401
from .base import Context, LayerOutput, Net, find_net, wrap_backbone
from .memory import KeyValue
from .open_clip_text import OpenCLIPText

if TYPE_CHECKING:
    from .hugging_face_beit import HuggingFaceBeit
    from .hugging_face_swin import HuggingFaceSwin
    from .hugging_face_vit import HuggingFaceViT
    from .openmmlab_backbone import OpenMMLabBackbone
    from .openmmlab_positions import MMPretrainBEiT, MMPretrainEVA02
    from .openmmlab_swin import MMPretrainSwinV2, OpenMMLabSwin
    from .openmmlab_vit import MMPretrainDeiT3, MMPretrainViT, MMSegViT
    from .timm_beit import TimmBeit, TimmRelPos
    from .timm_cait import TimmCait
    from .timm_classifier import TimmClassifier
    from .timm_eva import TimmEva
    from .timm_naflex import TimmNaFlex
    from .timm_sam import TimmSAM
    from .timm_swin import TimmSwin
    from .timm_vit import TimmViT
    from .torchvision_classifier import TorchvisionClassifier
    from .torchvision_swin import TorchvisionSwin
    from .torchvision_vit import TorchvisionViT

__all__ = [
    'Context',
    'HuggingFaceBeit',
    'HuggingFaceSwin',
    'HuggingFaceViT',
    'KeyValue',
    'LayerOutput',
    'MMPretrainBEiT',
    'MMPretrainDeiT3',
    'MMPretrainEVA02',
    'MMPretrainSwinV2',
    'MMPretrainViT',
    'MMSegViT',
    'Net',
    'OpenCLIPText',
    'OpenMMLabBackbone',
    'OpenMMLabSwin',
    'TimmBeit',
    'TimmCait',
    'TimmClassifier',
    'TimmEva',
    'TimmNaFlex',
    'TimmRelPos',
    'TimmSAM',
    'TimmSwin',
    'TimmViT',
    'TorchvisionClassifier',
    'TorchvisionSwin',
    'TorchvisionViT',
    'find_net',
    'wrap_backbone',
]


_OLD_NAMES = {'take_apart': 'wrap_backbone', 'TimmConvNet': 'TimmClassifier'}


def __getattr__(name: str) -> Any:
    if name in _OLD_NAMES:
        new = _OLD_NAMES[name]
        warnings.warn(f'vptx.backbones.{name} is vptx.backbones.{new} now', DeprecationWarning, stacklevel=2)
        return getattr(sys.modules[__name__], new)
    if name in __all__:
        NETS.import_from_location()
        return NETS.module_dict[name]
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
