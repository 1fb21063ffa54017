"""Where a prompt enters: one file for each family of networks. The only room that imports timm."""

from .base import Context, KeyValue, Net, take_apart
from .timm_beit import TimmBeit
from .timm_convnet import TimmConvNet
from .timm_eva import TimmEva
from .timm_vit import TimmViT

__all__ = ['Context', 'KeyValue', 'Net', 'TimmBeit', 'TimmConvNet', 'TimmEva', 'TimmViT', 'take_apart']
