"""On what: the mini benchmarks, which need no download; VTAB-1k and FGVC; your own images; and public
data sets with a validation split held out."""

from .benchmarks import BenchmarkTask, Task
from .custom import CustomImages
from .deep_image import LoadDeepImage
from .holdout import HoldoutCIFAR100, HoldoutCUB
from .image_list import ImageList
from .legacy_resize import LegacyResize
from .mini.captioned_scenes import CaptionedScenes, WriteCaption
from .mini.digits import Digits
from .mini.figure_tasks import FigureTask
from .mini.formula import FormulaImages
from .mini.mini_vtab import MiniVTAB
from .mini.photo_patches import PhotoPatches
from .subset import Subset
from .suites import TASKS, set_task

__all__ = [
    'TASKS',
    'BenchmarkTask',
    'CaptionedScenes',
    'CustomImages',
    'Digits',
    'FigureTask',
    'FormulaImages',
    'HoldoutCIFAR100',
    'HoldoutCUB',
    'ImageList',
    'LegacyResize',
    'LoadDeepImage',
    'MiniVTAB',
    'PhotoPatches',
    'Subset',
    'Task',
    'WriteCaption',
    'set_task',
]
