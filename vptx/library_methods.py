"""What a prompted network answers as the library's network inside it does: its facts, its classifier, its groups of
parameters. Its features are those with prompts.

Names of parameters are those of the prompted network, ``net.model.`` before the library's own.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vptx.backbones.base import Net
from vptx.mappings.base import LabelMapping

__all__ = ['FACTS', 'LibraryMethods', 'call_with_images']

#: Attributes of a library's network that are handed through. All are read when they are asked for, none is kept.
FACTS = frozenset(
    {
        'default_cfg',
        'embed_dim',
        'feature_info',
        'global_pool',
        'has_class_token',
        'head_hidden_size',
        'num_classes',
        'num_features',
        'num_prefix_tokens',
        'pretrained_cfg',
    }
)
INSIDE = 'net.model.'


class LibraryMethods(nn.Module):
    """Facts and methods of timm's networks, for the network that is prompted; the base of
    ``PromptedNetwork``.

    Raises:
        AttributeError: what the library's network has and is not served here; says where it is.
        NotImplementedError: a method that the library's network lacks, or that cannot be had with prompts.
    """

    net: Net
    prompter: Any
    mapping: LabelMapping
    embed: Callable[..., Any]
    layers: Callable[..., Any]
    _finish: Callable[..., Any]
    _tap: Callable[..., Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            # While such a module is being unpickled there is nothing yet.
            net = self.__dict__.get('_modules', {}).get('net')
            if net is None or not hasattr(net.model, name):
                raise
        if name in FACTS:
            return getattr(net.model, name)
        raise AttributeError(
            f"a prompted network does not serve '{name}' of {type(net.model).__name__}: it is at {INSIDE}{name}, which "
            'knows nothing of the prompts, or vptx.detach(model) first'
        )

    def _library_method(self, name: str) -> Callable[..., Any]:
        library = self.net.model
        if not hasattr(library, name):
            raise NotImplementedError(f"{type(library).__name__} has no {name}: it is a method of timm's networks")
        return getattr(library, name)

    def get_classifier(self) -> nn.Module:
        """The library's own classifier."""
        return self._library_method('get_classifier')()

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Give the library's network a new classifier, which trains. Build the optimizer afterwards.

        Raises:
            NotImplementedError: another pooling than the network has; prompts and readout are bound to that one.
            ValueError: a label mapping reads the old classes.
        """
        reset = self._library_method('reset_classifier')
        if global_pool is not None and global_pool != self.net.model.global_pool:
            raise NotImplementedError(
                f'reset_classifier cannot change global_pool to {global_pool!r} while a prompter is attached: '
                'vptx.detach(model), reset_classifier, attach again'
            )
        if self.mapping.num_classes:
            raise ValueError(
                f'{type(self.mapping).__name__} reads the classes of the old classifier: vptx.detach(model), '
                'reset_classifier, attach again'
            )
        reset(num_classes)
        self.net.geometry = replace(self.net.geometry, classes=num_classes)
        self.train(self.training)

    def no_weight_decay(self) -> set[str]:
        """Names of the library's parameters that its authors do not decay."""
        names: set[str] = getattr(self.net.model, 'no_weight_decay', set)()
        return {INSIDE + name for name in names}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any] | Callable[[str], Any]:
        """The library's layers as patterns over parameter names, for layer-wise learning rates. Prompts are in none of
        them, and so have the learning rate of the head."""
        matcher = self._library_method('group_matcher')(coarse=coarse)
        if callable(matcher):
            return lambda name: matcher(name.removeprefix(INSIDE))
        return {group: _prefixed(patterns) for group, patterns in matcher.items()}

    def forward_features(self, image: Tensor, note: Any = None) -> Tensor:
        """(B, 3, H, W) -> what the library's ``forward_features`` returns, with the effect of the prompts and without
        their own outputs, after the final norm."""
        self._library_method('forward_features')

        def features(image: Tensor, note: Any) -> Tensor:
            return self._features(self.layers(self.embed(image, note), self.net.geometry.depth))

        return call_with_images(features, image, note)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """What ``forward_features`` returns -> logits of the network's own classifier (B, C), mapped if there is a
        label mapping; or the pooled features."""
        output = self._library_method('forward_head')(features, pre_logits=pre_logits)
        return output if pre_logits else self.mapping(output)

    def forward_intermediates(
        self,
        image: Tensor,
        indices: int | Sequence[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = 'NCHW',
        intermediates_only: bool = False,
        note: Any = None,
    ) -> Any:
        """Feature maps of several layers (of stages, in a network that has them) of the prompted network, without the
        prompts' own outputs.

        Args:
            image: (B, 3, H, W).
            indices: which layers or stages; a number for the last ones, None for all.
            return_prefix_tokens: give of each a pair, its map and its prefix tokens (B, K, D).
            norm: apply the final norm where it fits.
            stop_early: leave out the layers after the last one that is asked for.
            output_fmt: ``'NCHW'``, (B, D, H', W'), or ``'NLC'``, (B, N, D).
            intermediates_only: leave the final features out.
            note: for the prompter, as in the forward.

        Returns:
            What ``forward_features`` returns and a list of maps, or the list alone.

        Raises:
            ValueError: a layer that is not there, or an unknown format.
        """
        library = self._library_method('forward_intermediates')
        net, depth = self.net, self.net.geometry.depth
        if output_fmt not in ('NCHW', 'NLC'):
            raise ValueError(f"output_fmt must be 'NCHW' or 'NLC', not {output_fmt!r}")
        if not depth:
            options = dict(
                norm=norm, stop_early=stop_early, output_fmt=output_fmt, intermediates_only=intermediates_only
            )
            return library(self._seen(image), indices, **options)
        layers = [net.intermediates[index] for index in _take(len(net.intermediates), indices)]

        def intermediates(image: Tensor, note: Any) -> Any:
            state, maps = self.embed(image, note), list[Any]()
            for layer in layers:
                state = self.layers(state, layer + 1)
                output = self._tap(state.tokens, state.context)
                if norm and (layer + 1 == depth or not net.geometry.lengths):
                    output = net.finish_layer(output)
                found = output.map if output_fmt == 'NCHW' else output.patches
                maps.append((found, output.prefix) if return_prefix_tokens and net.geometry.prefix else found)
            if intermediates_only:
                return maps
            return self._features(state if stop_early else self.layers(state, depth)), maps

        return call_with_images(intermediates, image, note)

    def get_intermediate_layers(
        self,
        x: Tensor,
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_prefix_tokens: bool = False,
        norm: bool = False,
    ) -> list[Any]:
        """DINO's name for ``forward_intermediates`` with ``intermediates_only``; maps where ``reshape``."""
        form = 'NCHW' if reshape else 'NLC'
        return self.forward_intermediates(x, n, return_prefix_tokens, norm, output_fmt=form, intermediates_only=True)

    def _features(self, state: Any) -> Tensor:
        """The final norm of what a layer gave, where that is as wide as the last one gives it."""
        net, tokens = self.net, self._tap(state.tokens, state.context).tokens
        if state.layer == net.geometry.depth or not net.geometry.lengths:
            tokens = self._finish(state, tokens)
        return net.features(tokens, state.context)

    def _seen(self, image: Tensor) -> Tensor:
        """The prompted image, for a network that prompts can reach by its image alone."""
        if self.prompter.stem() is not None:
            raise NotImplementedError(
                f'forward_intermediates of {self.net.geometry.name} cannot be had with {type(self.prompter).__name__}, '
                'which adds channels to its first convolution: use forward_features'
            )
        return self.prompter.image(image)


def call_with_images(function: Callable[[Tensor, Any], Any], image: Tensor, note: Any) -> Any:
    """``function(image, note)``. Not every library takes an empty batch: that is one black image, which is left out of
    the result."""
    if image.shape[0]:
        return function(image, note)
    if isinstance(note, Tensor) and note.dim() and not note.shape[0]:
        note = note.new_zeros(1, *note.shape[1:])
    return _without_images(function(F.pad(image, (0, 0, 0, 0, 0, 0, 0, 1)), note))


def _without_images(value: Any) -> Any:
    """Tensors of a batch, however they are kept together, without what is in them: (B, ...) -> (0, ...)."""
    return value[:0] if isinstance(value, Tensor) else type(value)(map(_without_images, value))


def _take(number: int, indices: int | Sequence[int] | None) -> list[int]:
    """Those of so many layers that are asked for, in their order: a number for the last ones, None for all."""
    asked = number if indices is None else indices
    found = range(number - asked, number) if isinstance(asked, int) else [i + number * (i < 0) for i in asked]
    if not found or min(found) < 0 or max(found) >= number:
        raise ValueError(f'indices={indices!r} are out of range: there are {number} layers or stages to take from')
    return sorted(set(found))


def _prefixed(patterns: str | list[tuple[str, Any]] | None) -> Any:
    """Patterns over the library's names -> over those of the prompted network."""
    if patterns is None:
        return None
    if isinstance(patterns, str):
        # A pattern is matched from the first letter on, so the circumflex of each alternative can go.
        free = re.sub(r'(^|[|(])\^', r'\1', patterns)
        return f'^{re.escape(INSIDE)}(?:{free})'
    return [(_prefixed(pattern), suffix) for pattern, suffix in patterns]
