"""Where a prompt enters: one file for each family of networks. The only room that imports timm."""

from .base import Context, KeyValue, LayerOutput, Net, take_apart
from .timm_swin import TimmSwin
from .timm_vit import TimmViT

__all__ = ['Context', 'KeyValue', 'LayerOutput', 'Net', 'TimmSwin', 'TimmViT', 'take_apart']
