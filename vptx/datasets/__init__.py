"""On what: the mini world, which needs no download; VTAB-1k and FGVC; images of one's own; and public data sets with a
validation split held out."""

from .benchmarks import TASKS, BenchmarkTask, Task, set_task
from .custom import CustomImages
from .digits import Digits
from .formula import FormulaImages
from .holdout import HoldoutCIFAR100, HoldoutCUB
from .image_list import ImageList
from .legacy_resize import LegacyResize
from .photo_patches import PhotoPatches
from .subset import Subset

__all__ = [
    'TASKS',
    'BenchmarkTask',
    'CustomImages',
    'Digits',
    'FormulaImages',
    'HoldoutCIFAR100',
    'HoldoutCUB',
    'ImageList',
    'LegacyResize',
    'PhotoPatches',
    'Subset',
    'Task',
    'set_task',
]
