"""Frozen linear maps by oneDNN, forward and backward.

torch writes the bias to all rows and adds the product to that. oneDNN adds it to the product while that is in the
cache, as torch's own compiler has it do. And torch multiplies by MKL, which takes twice as long on an AMD processor.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.backbones.fused import may_fuse
from vptx.backbones.spelling import has_global_hooks, is_plain

__all__ = ['PARTS', 'linear', 'run']

#: Modules that do no more than call their parts in turn, and the names of these parts; empty for all, as they come.
#: The wrappers of a library's networks add its own.
PARTS: dict[type[nn.Module], tuple[str, ...]] = {nn.Sequential: ()}


def run(module: nn.Module, x: Tensor) -> Tensor:
    """What ``module(x)`` gives, with ``linear`` in the place of its plain linear layers; whatever else it is or is
    made of, and whatever has a hook, is called."""
    if has_global_hooks():
        return module(x)
    if is_plain(module, (nn.Linear,)):
        return linear(x, module.weight, module.bias)
    if not is_plain(module, PARTS):
        return module(x)
    for name in PARTS[type(module)] or module._modules:
        x = run(getattr(module, name), x)
    return x


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.linear``, (..., in) -> (..., out); of frozen weights, in single precision on a CPU, by oneDNN."""
    if torch.compiler.is_compiling() or bias is None or not _is_fused(x, weight, bias):
        return F.linear(x, weight, bias)
    return _Frozen.apply(x, weight, bias) if torch.is_grad_enabled() and x.requires_grad else _fused(x, weight, bias)


def _is_fused(x: Tensor, weight: Tensor, bias: Tensor) -> bool:
    return (
        x.device.type == 'cpu'
        and x.dtype == weight.dtype == bias.dtype == torch.float32
        and not torch.is_autocast_enabled('cpu')
        and not (torch.is_grad_enabled() and (weight.requires_grad or bias.requires_grad))
        and torch.backends.mkldnn.is_available()
        and may_fuse(x, weight, bias)
    )


def _fused(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'none', [], '')


class _Frozen(torch.autograd.Function):
    """The gradient of x alone: (..., out) -> (..., in). Who trains weights or biases has torch's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _fused(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or not may_fuse(grad, weight):
            return grad @ weight, None, None
        return _fused(grad, weight.t(), None), None, None
