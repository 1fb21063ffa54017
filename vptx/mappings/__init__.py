"""How old classes are read as new ones: one file for each idea, named as its paper names it."""

from .base import CountedMapping, LabelMapping
from .bayesian import BayesianMapping
from .clip_adapter import CLIPAdapterHead
from .frequency import FrequencyMapping, IterativeMapping
from .fully_connected import FullyConnectedMapping
from .index import IndexMapping, RandomMapping
from .pulls import ImagePull, LogitPull, Pull, TextPull
from .text import TextHead
from .tip_adapter import TipAdapterHead

__all__ = [
    'BayesianMapping',
    'CLIPAdapterHead',
    'CountedMapping',
    'FrequencyMapping',
    'FullyConnectedMapping',
    'ImagePull',
    'IndexMapping',
    'IterativeMapping',
    'LabelMapping',
    'LogitPull',
    'Pull',
    'RandomMapping',
    'TextHead',
    'TextPull',
    'TipAdapterHead',
]
