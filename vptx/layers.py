"""One layer of a frozen network with a prompter: what the forward of images and the forward of texts have in common."""

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vptx.backbones.base import Context, Net
from vptx.backbones.linear import fast_linear
from vptx.backbones.memory import Memory
from vptx.geometry import At, Site
from vptx.prompters.base import Prompter

__all__ = ['OUTSIDE', 'UNPROMPTED', 'PromptedLayers', 'stamp']

OUTSIDE = At(None)
#: Of a forward of the frozen network, in which no prompter acts inside.
UNPROMPTED = At(-1)
#: Where the forward that is running is, for prompters that act inside: one network may serve several threads.
_here: ContextVar[At] = ContextVar('here', default=OUTSIDE)


class PromptedLayers(BaseModule):
    """A net, a prompter, and how a layer of the one is computed with the other.

    Attributes:
        net: the frozen network.
        prompter: what is learnt, bound to it.
        with_cp: whether activations are checkpointed, layer by layer.
    """

    net: Net
    prompter: Prompter
    with_cp: bool
    _exact: bool

    def __init__(self) -> None:
        super().__init__()
        self._handles: list = []
        self._compiled_at = OUTSIDE

    def _listen(self) -> None:
        """Have the prompter act at its sites."""
        for handle in self._handles:
            handle.remove()
        # A partial of a method, not a closure: a copy of the network calls the copy's own prompter.
        self._handles = [
            self.net.module_at(site).register_forward_hook(partial(self._inside, site)) for site in self.prompter.sites
        ]

    def _at(self, layer: int, grid: tuple[int, int], seen: Any = None, note: Any = None) -> At:
        return At(layer, grid, None, seen, note, self.net.admit if layer == 0 else None, kept={})

    def _pass(
        self, tokens: Tensor, at: At, context: Context, memory: Memory | None, rows: int | None = None
    ) -> tuple[Tensor, bool]:
        """Through a layer, with the prompts before it and after it: (B, M, D) -> (B, M', D).

        Args:
            tokens: as the layer before gave them.
            at: the layer.
            context: of the images or texts.
            memory: what the layer attends to besides the tokens.
            rows: how many of the first tokens are read; None for all.

        Returns:
            The tokens, and whether they are these rows alone.
        """
        tokens = self.prompter.before_layer(tokens, at)
        at = at._replace(entered=tokens)
        first = None
        if rows and at.layer is not None:
            with fast_linear(tokens):
                first = self.net.first_rows(tokens, at.layer, context, memory, rows)
        if first is None:
            tokens = self._block(tokens, at, context, memory)
        else:
            at, tokens = at._replace(entered=tokens[:, : first.shape[1]]), first
        return self.prompter.after_layer(tokens, at), first is not None

    def _block(self, tokens: Tensor, at: At, context: Context, memory: Memory | None) -> Tensor:
        between = None
        if self.prompter.acts_between:
            assert at.layer is not None
            recall = partial(self.net.recall, layer=at.layer, context=context)
            between = partial(self.prompter.between, at=at._replace(recall=recall))
        inputs = tokens, at.layer, context, memory, self._exact, between
        if not (self.with_cp and torch.is_grad_enabled()):
            return self._called(at, self.net.block, *inputs)
        kept = partial(checkpoint, use_reentrant=False)
        if torch.compiler.is_compiling():  # which runs no Python in the backward pass
            return self._called(at, kept, self.net.block, *inputs)
        return kept(self._called, at, self.net.block, *inputs)

    def _called(self, at: At, function: Callable[..., Any], *inputs: Any) -> Any:
        """``function(*inputs)``, which calls modules of the network ``at`` this place; ``_inside`` reads it."""
        if not self.prompter.sites:
            return function(*inputs)
        if torch.compiler.is_compiling():  # which cannot set context variables, and leaves no trace of this attribute
            self._compiled_at = at
            output = function(*inputs)
            self._compiled_at = OUTSIDE
            return output
        token = _here.set(at)
        self._compiled_at = at  # for a module of a layer that is compiled by itself
        try:
            return function(*inputs)
        finally:
            _here.reset(token)
            self._compiled_at = OUTSIDE

    def _inside(self, site: Site, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        at = self._compiled_at if torch.compiler.is_compiling() else _here.get()
        if at is UNPROMPTED:
            return output
        return self.prompter.inside(site, inputs[0], output, at)


def stamp(tensor: Tensor) -> tuple[int, int]:
    """Changes where the tensor is written to in place, or gets other storage."""
    return 0 if tensor.is_inference() else tensor._version, tensor.data_ptr()
