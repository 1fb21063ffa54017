"""Optimizers of what trains, and of nothing else; half precision on any device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from vptx.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS

__all__ = ['BFloat16OptimWrapper', 'TrainableOnlyOptimWrapperConstructor']


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Autocast to bfloat16 on any device. Parameters and prompts stay in float32, and no loss needs scaling.

    MMEngine's AmpOptimWrapper is for float16, and refuses a CPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainableOnlyOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's default, shown nothing but the trainable parameters.

    The default one puts frozen parameters into the optimizer too, or logs a warning for each.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        whole = [(module, module._parameters) for module in model.modules()]
        for module, parameters in whole:
            module._parameters = {n: p for n, p in parameters.items() if p is None or p.requires_grad}
        try:
            return super().__call__(model)
        finally:
            for module, parameters in whole:
                module._parameters = parameters
