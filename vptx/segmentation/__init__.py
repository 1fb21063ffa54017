"""Prompts under mmsegmentation's decode heads. The only room that imports mmseg."""

from .annotations import CheckedLoadAnnotations
from .datasets import ADE20K, MiniADE, PascalContext
from .inferencer import SegInferencer
from .overlay import overlay, predict, write_predictions
from .segmentor import StreamedEncoderDecoder
from .tta import AccumulatingTTAModel

__all__ = [
    'ADE20K',
    'AccumulatingTTAModel',
    'CheckedLoadAnnotations',
    'MiniADE',
    'PascalContext',
    'SegInferencer',
    'StreamedEncoderDecoder',
    'overlay',
    'predict',
    'write_predictions',
]
