"""Objectives that made the networks in ``weights/`` and that no library has. Import it where one is trained."""

from .clip_mini import load_clip_mini
from .contrastive import ContrastivePretraining
from .zero_shot import ZeroShotAccuracy, ask

__all__ = ['ContrastivePretraining', 'ZeroShotAccuracy', 'ask', 'load_clip_mini']
