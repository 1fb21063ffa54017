"""Prompts under mmsegmentation's decode heads. The only package that imports mmseg."""

from .annotations import CheckedLoadAnnotations
from .colours import colours, dataset_meta
from .datasets import ADE20K, CustomMasks, MiniADE, PascalContext
from .inferencer import SegInferencer
from .metric import CheckedIoUMetric
from .overlay import overlay, predict, write_predictions
from .segmentor import StreamedEncoderDecoder
from .tta import AccumulatingTTAModel

__all__ = [
    'ADE20K',
    'AccumulatingTTAModel',
    'CheckedIoUMetric',
    'CheckedLoadAnnotations',
    'CustomMasks',
    'MiniADE',
    'PascalContext',
    'SegInferencer',
    'StreamedEncoderDecoder',
    'colours',
    'dataset_meta',
    'overlay',
    'predict',
    'write_predictions',
]
