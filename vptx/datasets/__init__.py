"""On what: the mini benchmarks, which need no download; VTAB-1k and FGVC; CoOp's data sets; your own images; real
images that ``make real`` fetches; and public data sets with a validation split held out."""

from .bahng import RESISC45, SVHN, CLEVRCount
from .bands import LoadBands
from .benchmarks import BenchmarkTask, Task
from .coop import CoOpTask, NamedTask
from .custom import CustomImages
from .deep_image import LoadDeepImage
from .holdout import HoldoutCIFAR10, HoldoutCIFAR100, HoldoutCUB, HoldoutFashionMNIST
from .image_list import ImageList
from .legacy_resize import LegacyResize
from .mini.captioned_scenes import CaptionedScenes, WriteCaption
from .mini.digits import Digits
from .mini.figure_tasks import FigureTask
from .mini.formula import FormulaImages
from .mini.mini_vtab import MiniVTAB
from .mini.photo_patches import PhotoPatches
from .random_views import RandomViews
from .real_images import RealImages, RealTask
from .subset import Subset
from .suites import TASKS, set_task

__all__ = [
    'RESISC45',
    'SVHN',
    'TASKS',
    'BenchmarkTask',
    'CLEVRCount',
    'CaptionedScenes',
    'CoOpTask',
    'CustomImages',
    'Digits',
    'FigureTask',
    'FormulaImages',
    'HoldoutCIFAR10',
    'HoldoutCIFAR100',
    'HoldoutCUB',
    'HoldoutFashionMNIST',
    'ImageList',
    'LegacyResize',
    'LoadBands',
    'LoadDeepImage',
    'MiniVTAB',
    'NamedTask',
    'PhotoPatches',
    'RandomViews',
    'RealImages',
    'RealTask',
    'Subset',
    'Task',
    'WriteCaption',
    'set_task',
]
