"""What happens during a run, and when: attach, slim checkpoints, checks, resume."""

from .class_names_hook import ClassNamesHook
from .data_guard_hook import DataGuardHook
from .feature_cache_hook import FeatureCacheHook, NotFrozenError
from .gaussian_average_hook import GaussianAverageHook, gaussian_weights
from .guard_hook import GuardHook
from .label_mapping_hook import LabelMappingHook, estimate_mapping
from .prompt_init_hook import PromptInitHook
from .prompt_tuning_hook import PromptTuningHook
from .pruning_hook import PruningHook
from .random_streams_hook import RandomStreamsHook
from .resume_hook import ResumeHook
from .save_and_end_hook import SaveAndEndHook
from .slim_checkpoint_hook import SafeCheckpointHook, SlimCheckpointHook
from .subset_record_hook import SubsetRecordHook
from .test_curve_hook import TestCurveHook
from .tip_adapter_hook import TipAdapterHook, fill_cache

__all__ = [
    'ClassNamesHook',
    'DataGuardHook',
    'FeatureCacheHook',
    'GaussianAverageHook',
    'GuardHook',
    'LabelMappingHook',
    'NotFrozenError',
    'PromptInitHook',
    'PromptTuningHook',
    'PruningHook',
    'RandomStreamsHook',
    'ResumeHook',
    'SafeCheckpointHook',
    'SaveAndEndHook',
    'SlimCheckpointHook',
    'SubsetRecordHook',
    'TestCurveHook',
    'TipAdapterHook',
    'estimate_mapping',
    'fill_cache',
    'gaussian_weights',
]
