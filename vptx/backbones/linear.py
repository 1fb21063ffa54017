"""Frozen linear maps that add their bias on the way.

torch writes the bias to all rows and adds the product to that. oneDNN adds it to the product while that is in the
cache, as torch's own compiler has it do.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ['FusedLinear', 'linear']


class FusedLinear(nn.Linear):
    """A linear layer that computes :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)

    @staticmethod
    def replace(network: nn.Module, fused: bool = True) -> None:
        """Let all plain linear layers of a network be fused or, with ``fused=False``, the fused ones plain again. They
        stay the modules that they are, with their parameters and hooks."""
        before, after = (nn.Linear, FusedLinear) if fused else (FusedLinear, nn.Linear)
        for module in network.modules():
            if type(module) is before:
                module.__class__ = after


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.linear``, (..., in) -> (..., out); of frozen weights, in single precision on a CPU, by oneDNN."""
    plain = (
        bias is None
        or x.device.type != 'cpu'
        or not (x.dtype == weight.dtype == bias.dtype == torch.float32)
        or torch.is_autocast_enabled('cpu')
        or (torch.is_grad_enabled() and (weight.requires_grad or bias.requires_grad))
        or torch.jit.is_tracing()  # who counts operations, knows F.linear alone
        or torch.compiler.is_compiling()
        or not torch.backends.mkldnn.is_available()
    )
    if plain:
        return F.linear(x, weight, bias)
    return _Frozen.apply(x, weight, bias) if torch.is_grad_enabled() and x.requires_grad else _fused(x, weight, bias)


def _fused(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'none', [], '')


class _Frozen(torch.autograd.Function):
    """The gradient of x alone: (..., out) -> (..., in). Who trains weights or biases has torch's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _fused(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad @ ctx.saved_tensors[0], None, None
