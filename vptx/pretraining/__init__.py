"""Objectives that made the networks in ``weights/`` and that no library has. Import it where one is trained."""

from .contrastive import ContrastivePretraining
from .zero_shot import ZeroShotAccuracy

__all__ = ['ContrastivePretraining', 'ZeroShotAccuracy']
