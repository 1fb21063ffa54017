"""Where a prompt enters: one file for each family of networks. The only room that imports timm."""

from .base import Context, LayerOutput, Net, find_net, take_apart
from .memory import KeyValue
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
    'KeyValue',
    'LayerOutput',
    'MMPretrainViT',
    'MMSegViT',
    'Net',
    'OpenMMLabSwin',
    'TimmBeit',
    'TimmConvNet',
    'TimmEva',
    'TimmSwin',
    'TimmViT',
    'TorchvisionViT',
    'find_net',
    'take_apart',
]
