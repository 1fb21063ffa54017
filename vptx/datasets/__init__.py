"""The data of the mini world: no download, no licence to sign, and small enough for a laptop."""

from .digits import Digits
from .formula import FormulaImages
from .photo_patches import PhotoPatches

__all__ = ['Digits', 'FormulaImages', 'PhotoPatches']
