"""Optimizers of what trains, and of nothing else; half precision; the field's own ways to take a step."""

from .cma import CMAOptimWrapper
from .normalized import NormalizedGradOptimWrapper
from .prograd import ProGradOptimWrapper, project_gradients
from .spsa import InversePowerLR, SPSAOptimWrapper
from .wrappers import BFloat16OptimWrapper, IdleOptimWrapper, TrainableOnlyOptimWrapperConstructor

__all__ = [
    'BFloat16OptimWrapper',
    'CMAOptimWrapper',
    'IdleOptimWrapper',
    'InversePowerLR',
    'NormalizedGradOptimWrapper',
    'ProGradOptimWrapper',
    'SPSAOptimWrapper',
    'TrainableOnlyOptimWrapperConstructor',
    'project_gradients',
]
