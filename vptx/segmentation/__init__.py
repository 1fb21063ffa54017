"""Prompts under mmsegmentation's decode heads. The only package that imports mmseg."""

from .annotations import CheckedLoadAnnotations
from .colours import colours, dataset_meta
from .datasets import ADE20K, CustomMasks, MiniADE, PascalContext
from .hidden import HiddenIoUMetric, HideClasses
from .inferencer import SegInferencer
from .metric import CheckedIoUMetric
from .overlay import overlay, predict, write_predictions
from .preprocessor import AnyBandsPreProcessor
from .segmentor import StreamedEncoderDecoder, decide, probabilities, windows
from .tta import AccumulatingTTAModel
from .words import ReadsWords, TextSegHead, TextSETRUPHead

__all__ = [
    'ADE20K',
    'AccumulatingTTAModel',
    'AnyBandsPreProcessor',
    'CheckedIoUMetric',
    'CheckedLoadAnnotations',
    'CustomMasks',
    'HiddenIoUMetric',
    'HideClasses',
    'MiniADE',
    'PascalContext',
    'ReadsWords',
    'SegInferencer',
    'StreamedEncoderDecoder',
    'TextSETRUPHead',
    'TextSegHead',
    'colours',
    'dataset_meta',
    'decide',
    'overlay',
    'predict',
    'probabilities',
    'windows',
    'write_predictions',
]
