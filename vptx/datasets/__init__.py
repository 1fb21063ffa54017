"""The data of the mini world: no download, no licence to sign, and small enough for a laptop. And public data sets
with a validation split held out."""

from .digits import Digits
from .formula import FormulaImages
from .holdout import HoldoutCIFAR100, HoldoutCUB
from .photo_patches import PhotoPatches

__all__ = ['Digits', 'FormulaImages', 'HoldoutCIFAR100', 'HoldoutCUB', 'PhotoPatches']
