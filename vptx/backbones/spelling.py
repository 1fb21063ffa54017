"""Whether a layer may be computed from the weights of its modules instead of by calling them.

A tool that adapts, quantises, prunes, measures or shards a network does it by replacing a module, by a hook, by a
parametrisation or by a ``forward`` of the module's own. All of these act when the module is called, and none acts when
its weights are read. So a layer is computed from weights only if each module that the spelling replaces is exactly of a
type that is known, and nothing of that kind is on it. This is asked at every forward.
"""

import sys
from collections.abc import Callable, Iterable
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

__all__ = ['ReplacedForwardError', 'has_global_hooks', 'is_affine', 'is_plain', 'is_unseen', 'is_untouched', 'stand_in']


class ReplacedForwardError(ValueError):
    """A layer whose own forward can take no prompts, and which must not be computed otherwise.

    Args:
        name: of the network.
        layer: its number, from 0.
    """

    def __init__(self, name: str, layer: int) -> None:
        super().__init__(
            f'layer {layer} of {name}: its attention has a forward that has been replaced, and takes the tokens of an '
            'image alone, so no prompt can go through it. Take the replacement off, or use a prompter on the image'
        )


#: Where transformers keeps what records the outputs of layers.
_RECORDER = 'transformers.utils.output_capturing'
#: Packages whose modules, of exactly the types that are there, treat each token by itself outside attention.
_LIBRARIES = ('torch.nn.modules.', 'timm.layers.', 'timm.models.')


def is_plain(module: nn.Module | None, kinds: Iterable[type[nn.Module]]) -> bool:
    """Whether calling ``module`` computes what its class says, from weights that are ordinary tensors, and no more.

    Args:
        module: None, where a network has no such part, is plain.
        kinds: the types that are known; those derived from them are not.
    """
    if module is None:
        return True
    return type(module) in kinds and is_untouched(module) and all(map(_is_ordinary, module._parameters.values()))


def is_affine(module: nn.Module) -> bool:
    """Whether it is a linear map, a convolution or a norm of a library, with ordinary weights and nothing on it."""
    weight = module._parameters.get('weight')
    return (
        weight is not None
        and weight.is_floating_point()
        and set(module._parameters) <= {'weight', 'bias'}
        and not module._modules
        and is_untouched(module)
        and type(module).__module__.startswith(_LIBRARIES)
        and all(map(_is_ordinary, module._parameters.values()))
    )


def is_untouched(module: nn.Module) -> bool:
    """Whether there is no hook on ``module``, no ``forward`` of its own, and no compiled one."""
    return not (
        any(not _is_idle(hook) for hook in module._forward_hooks.values())
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or 'forward' in module.__dict__
        or module._compiled_call_impl is not None
    )


def _is_idle(hook: Any) -> bool:
    """Whether it is one that transformers leaves on a layer to record its outputs, while nothing is recorded."""
    if getattr(hook, '__module__', '') != _RECORDER:
        return False
    collector = getattr(sys.modules[_RECORDER], '_active_collector', None)
    return collector is not None and not collector.get()


def has_global_hooks() -> bool:
    """Whether a global hook listens to all modules that are called
    (``torch.nn.modules.module.register_module_...``)."""
    return torch_module._has_any_global_hook()


def stand_in(module: nn.Module, forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A module that shares all parts, weights and hooks with ``module``, and computes ``forward`` when it is called."""
    if torch.compiler.is_compiling() and is_untouched(module) and not has_global_hooks():
        return forward  # a compiler copies no modules, and there is no hook to call
    other = copy(module)
    other.forward = forward
    return other


def is_unseen(*parts: nn.Module) -> bool:
    """Whether rows may be left out of what goes through ``parts``: all that is in them treats each row by itself,
    no hook sees the rows, and no dropout draws for them."""
    for module in (module for part in parts for module in part.modules()):
        if not type(module).__module__.startswith(_LIBRARIES) or not is_untouched(module):
            return False
        if module.training and (getattr(module, 'p', 0) or getattr(module, 'drop_prob', 0)):
            return False
    return not has_global_hooks()


def _is_ordinary(weight: Tensor | None) -> bool:
    """Whether it is no tensor that holds others, as quantised and sharded weights are."""
    return weight is None or not is_traceable_wrapper_subclass(weight)
