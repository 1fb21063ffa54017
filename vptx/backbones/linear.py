"""Frozen linear maps by oneDNN, forward and backward.

torch writes the bias to all rows and adds the product to that. oneDNN adds it to the product while that is in the
cache, as torch's own compiler has it do. And torch multiplies by MKL, which takes twice as long on an AMD processor.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._device import DeviceContext

from vptx.backbones.fused import may_fuse

__all__ = ['fast_linear', 'linear']

#: Quantised and sharded weights are of other types.
_ORDINARY = (Tensor, nn.Parameter)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, (..., in) -> (..., out); of frozen weights, in single precision on a CPU, by oneDNN."""
    if torch.compiler.is_compiling() or not _is_fused(input, weight, bias):
        return F.linear(input, weight, bias)
    if not (torch.is_grad_enabled() and input.requires_grad):
        return _fused(input, weight, bias)
    # The view is made here, as what a library does in place to a view that an autograd function made is an error.
    return _Frozen.apply(input.flatten(0, -2), weight, bias).view(*input.shape[:-1], len(weight))


def fast_linear(x: Tensor) -> AbstractContextManager:
    """Within, ``F.linear`` is ``linear``, also where a library calls it: for layers on ``x`` that need be their
    library's to rounding alone. Nothing changes where ``linear`` is not faster."""
    if x.device.type != 'cpu' or x.dtype != torch.float32 or torch.compiler.is_compiling():
        return nullcontext()
    return _FastLinear()


class _FastLinear(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return (linear if func is F.linear else func)(*args, **(kwargs or {}))


def _is_fused(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    tensors = (x, weight) if bias is None else (x, weight, bias)
    return (
        all(type(tensor) in _ORDINARY and tensor.dtype == torch.float32 for tensor in tensors)
        and all(tensor.device.type == 'cpu' for tensor in tensors)
        and x.dim() > 1
        and not torch.is_autocast_enabled('cpu')
        and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors[1:]))
        and torch.backends.mkldnn.is_available()
        # A mode of yours that counts or replaces F.linear has to see it.
        and all(isinstance(mode, (_FastLinear, DeviceContext)) for mode in _get_current_function_mode_stack())
        and may_fuse(*tensors)
    )


def _fused(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'none', [], '')


class _Frozen(torch.autograd.Function):
    """(N, in) -> (N, out), and the gradient of x alone. Who trains weights or biases has torch's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _fused(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or not may_fuse(grad, weight):
            return grad @ weight, None, None
        return _fused(grad, weight.t(), None), None, None
