"""Backbone wrappers: one file for each family of networks. Only this package and ``vptx.weights`` import timm."""

import warnings
from typing import Any

from .base import Context, LayerOutput, Net, find_net, wrap_backbone
from .hugging_face_beit import HuggingFaceBeit
from .hugging_face_swin import HuggingFaceSwin
from .hugging_face_vit import HuggingFaceViT
from .memory import KeyValue
from .open_clip_text import OpenCLIPText
from .openmmlab_swin import OpenMMLabSwin
from .openmmlab_vit import MMPretrainViT, MMSegViT
from .timm_beit import TimmBeit
from .timm_convnet import TimmConvNet
from .timm_eva import TimmEva
from .timm_swin import TimmSwin
from .timm_vit import TimmViT
from .torchvision_vit import TorchvisionViT

__all__ = [
    'Context',
    'HuggingFaceBeit',
    'HuggingFaceSwin',
    'HuggingFaceViT',
    'KeyValue',
    'LayerOutput',
    'MMPretrainViT',
    'MMSegViT',
    'Net',
    'OpenCLIPText',
    'OpenMMLabSwin',
    'TimmBeit',
    'TimmConvNet',
    'TimmEva',
    'TimmSwin',
    'TimmViT',
    'TorchvisionViT',
    'find_net',
    'wrap_backbone',
]


def __getattr__(name: str) -> Any:
    if name == 'take_apart':
        warnings.warn('vptx.backbones.take_apart is vptx.backbones.wrap_backbone now', DeprecationWarning, stacklevel=2)
        return wrap_backbone
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
