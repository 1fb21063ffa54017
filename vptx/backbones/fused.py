"""When operators may be used that PyTorch can differentiate once and backward, and no more.

Fused kernels of attention and of linear layers have no derivative of second order, no forward mode and no rule for
``torch.func``; some of them drop such a term without an error. Where anything of that kind is under way, the operators
that have all derivatives take their place. So they do where operators are recorded or counted: a tool that does that
knows the common operators alone.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad

__all__ = ['may_fuse', 'transforms']


def may_fuse(*tensors: Tensor) -> bool:
    """Whether a fused operator may compute with ``tensors``; ask ``torch.compiler.is_compiling`` beforehand."""
    return not (torch.jit.is_tracing() or torch._C._len_torch_dispatch_stack() or transforms(*tensors)) and all(
        tensor.numel() > 0 and tensor.stride(-1) == 1 for tensor in tensors
    )


def transforms(*tensors: Tensor) -> bool:
    """Whether ``torch.func``, forward mode or a batch of gradients (``is_grads_batched``) is at work on ``tensors``."""
    return torch._C._are_functorch_transforms_active() or any(
        torch._C._functorch.is_legacy_batchedtensor(tensor) or forward_ad.unpack_dual(tensor).tangent is not None
        for tensor in tensors
    )
