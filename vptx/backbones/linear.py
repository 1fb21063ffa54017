"""Linear maps that add their bias on the way."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ['FusedLinear', 'linear']


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``F.linear``, (..., in) -> (..., out); in single precision on a CPU, where no graph is made, oneDNN's.

    torch writes the bias to all rows and adds the product to that, which is 4 % of the inference of a ViT-B at 224 px.
    oneDNN adds the bias to the product while it is in the cache, as torch's own compiler has it do.
    """
    plain = (
        bias is None
        or x.device.type != 'cpu'
        or not (x.dtype == weight.dtype == bias.dtype == torch.float32)
        or torch.is_grad_enabled()
        or torch.is_autocast_enabled('cpu')
        or torch.jit.is_tracing()  # who counts operations, knows F.linear alone
        or torch.compiler.is_compiling()
        or not torch.backends.mkldnn.is_available()
    )
    if plain:
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'none', [], '')


class FusedLinear(nn.Linear):
    """A linear layer whose forward pass is :func:`linear`: what :func:`vptx.fold` makes of a network's own."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)

    @staticmethod
    def fuse(network: nn.Module) -> None:
        """Turn all plain linear layers of a network into such ones, parameters, hooks and all."""
        for module in _of_type(network, nn.Linear):
            module.__class__ = FusedLinear

    @staticmethod
    def part(network: nn.Module) -> None:
        """Turn them back."""
        for module in _of_type(network, FusedLinear):
            module.__class__ = nn.Linear


def _of_type(network: nn.Module, kind: type) -> Iterator[nn.Module]:
    return (module for module in network.modules() if type(module) is kind)
