"""Optimizers of what trains, and of nothing else; half precision on any device; nothing to do at all."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import Tensor, nn

from vptx.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS

__all__ = ['BFloat16OptimWrapper', 'IdleOptimWrapper', 'TrainableOnlyOptimWrapperConstructor']


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Autocast to bfloat16 on any device. Parameters and prompts stay in float32, and no loss needs scaling.

    MMEngine's AmpOptimWrapper is for float16, and refuses a CPU.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(get_device(), dtype=torch.bfloat16):
            yield


class IdleOptimWrapper(OptimWrapper):
    """An optimizer wrapper for a run in which nothing trains. It takes no arguments, and its step changes nothing.

    Such a run has a label mapping that is drawn or counted, on a network without prompts.
    """

    def __init__(self) -> None:
        super().__init__(torch.optim.SGD([dict(params=[])], lr=0.0))

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        self.step(**step_kwargs or {})  # of nothing; schedulers want to see it


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
