"""Forward pass of a frozen network with a prompter. No other module contains such a loop; that without a
prompter, of an encoder that a prompter asks, is in ``vptx.prompters.encoder``.

embed   image -> embed -> look
layers  (merge, before_layer, block, after_layer) x L
read    finish -> at_end -> readout
"""

import logging
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from vptx.backbones.base import Context, LayerOutput, Net, reasons
from vptx.backbones.memory import Memory
from vptx.binding import bind, check_free, hold, release
from vptx.geometry import At, KeyValue
from vptx.layers import OUTSIDE, UNPROMPTED, PromptedLayers, stamp
from vptx.library_methods import LibraryMethods, call_with_images
from vptx.mappings.base import LabelMapping
from vptx.merged import Merged, NetWeights, restore
from vptx.prompters.base import AMONG_TOKENS, Prompter
from vptx.prompters.encoder import encode
from vptx.readout import FIRST_ROWS, MAPS, OWN, READOUTS, READS_PROMPTS, Maps, Readout, check_readout, read_maps
from vptx.registry import MODELS, NETS, build
from vptx.trainable import set_mode

__all__ = ['PromptedBackbone', 'PromptedNetwork', 'State', 'parts_of']


class State(NamedTuple):
    """Where a forward pass is: ``PromptedNetwork.embed`` makes it, ``PromptedNetwork.layers`` moves it on, and
    ``PromptedNetwork.read`` makes the output of it.

    Attributes:
        tokens: before ``layer`` (B, K+N, D), or (B, K+P+N, D) where prompts go on.
        layer: the next one; the depth L after the last.
        context: what the layers need to know of the images.
        image: what the forward was given (B, 3, H, W).
        seen: what the prompter's ``look`` returned.
        note: what the caller gave the forward.
        taps: outputs of layers that are feature maps, by layer.
        complete: whether all tokens are there; if not, the first ones, which the readout reads.
    """

    tokens: Tensor
    layer: int
    context: Context
    image: Tensor
    seen: Any = None
    note: Any = None
    taps: Mapping[int, LayerOutput] = {}
    complete: bool = True


class PromptedNetwork(LibraryMethods, PromptedLayers):
    """A network, a prompter and a label mapping (none, initially) and a readout: (B, 3, H, W) -> (B, D),
    (B, D, H', W') or (B, C). Of several layers, a tuple of feature maps.

    Args:
        net: a ``Net``, or its config, e.g.
            ``dict(type='TimmViT', model='vit_base_patch16_224.orig_in21k', img_size=224)``.
        readout: what is made of the last layer's tokens, one of ``READOUTS``; ``'logits'``, the
            network's own pooling and classifier; ``'maps'`` or ``dict(maps=[layers])``, feature maps of several
            layers (``Maps``). By default what the network was trained with.
        with_cp: checkpoint activations: keep of each layer its input alone and compute the rest again in the backward
            pass. The same gradients, less memory, a forward more. OpenMMLab's name; timm's is
            ``set_grad_checkpointing``.

    Attributes:
        prompter: what is learnt; a ``Prompter`` that does nothing while none is attached.
        mapping: how the network's own classes are read as others; a ``LabelMapping`` that does
            nothing while there is none.
        frozen_from: the checkpoint that filled a stock backbone after it was prompted; empty for all others.
        merged: what ``merge`` changed, for ``unmerge`` to restore; None while nothing is merged.
        classes: the names of the classes of what is learnt, with who gave them
            (``ClassNames``), as soon as a file or the data have named them.
        attach_state: what ``vptx.attach`` changed, for ``vptx.detach`` to restore; None while no prompter is
            attached.
    """

    def __init__(self, net: Net | dict, readout: Readout | None = None, with_cp: bool = False) -> None:
        super().__init__()
        self.net: Net = build(NETS, net)
        self.set_grad_checkpointing(with_cp or (self.net.grad_checkpointing and self.net.geometry.depth > 0))
        self.readout: Readout = readout or self.net.readout
        self.map_norms = nn.ModuleList()
        self.folded: set[int] = set()
        self._folded_from: list[tuple] = []
        self.merged: Merged | None = None
        self.attach_state: Any = None
        self.frozen_from = ''
        self.classes: Any = None
        self.set_prompter(Prompter())

    def set_prompter(
        self, prompter: Prompter, readout: Readout | None = None, mapping: LabelMapping | None = None
    ) -> None:
        """Bind ``prompter`` and ``mapping`` to the network.

        Raises:
            ValueError: a door that the network does not have, a readout that cannot be served, a mapping of the logits
                of a network without a classifier or of what are no logits; a prompter or a mapping that another model
                has, or that has learnt for a network of other shapes.
        """
        self.classes = None
        geometry, readout = self.net.geometry, readout or (OWN if mapping else self.readout)
        if mapping is not None:
            self._check_mapping(mapping, readout)
            check_free(mapping, self)
            bind(mapping, geometry.classes, exact=True)
        doors = prompter.doors | ({'memory'} if prompter.acts_between else set())
        lacking = doors - geometry.doors
        if lacking:
            raise ValueError(
                f'{type(prompter).__name__} enters by {", ".join(sorted(doors))}, but {geometry.name} has no '
                f'door {", ".join(sorted(lacking))}, only {", ".join(sorted(geometry.doors))}{reasons(self.net.model)}'
            )
        maps = read_maps(readout, geometry.depth, self.net.stages, self.net.map_norm)
        name = MAPS if maps else str(readout)
        if prompter.reads_language:
            language = mapping.language() if mapping else ()
            geometry = replace(geometry, language=tuple((len(prompts), prompts.shape[1]) for prompts in language))
        check_free(prompter, self)
        bind(prompter, geometry, name in READS_PROMPTS)
        has_tokens = geometry.tokens > 0
        check_readout(name, geometry.name, self.net.has_class_token, has_tokens, prompter.prompts_at_end)
        if maps and maps.norm == 'projected':
            self._check_projection(maps)
        self.unfold()
        self._pooling = getattr(self.net.model, 'global_pool', None)
        self.readout = readout
        self._maps = maps
        self._taps = frozenset(maps.layers if maps else self.net.taps if name == OWN else ())
        read = self.net.own_rows if name == OWN else FIRST_ROWS.get(name)
        # Equal to rounding, so only where a prompter changes what goes on among the tokens or in the layers: without
        # one, or with pixels that are zero, the network is its library's bit for bit.
        among_tokens = bool(prompter.doors & AMONG_TOKENS)
        self._exact = not (among_tokens or prompter.sites)
        whole = self._taps or prompter.needs_all_tokens or prompter.acts_between
        self._first_rows = read if among_tokens and not whole else None
        # What is learnt follows the network to its device and its type of numbers.
        parameters = list(self.net.parameters())
        reference = next((p for p in parameters if p.is_floating_point()), parameters[0])
        self._make_map_norms(maps, reference)
        for name, part in (('prompter', prompter), ('mapping', mapping or LabelMapping())):
            release(getattr(self, name, nn.Identity()))
            setattr(self, name, part.to(reference) if reference.is_floating_point() else part.to(reference.device))
            hold(part, self)
        self.net.used = prompter.sites
        self._listen()
        self.train(self.training)

    def _check_projection(self, maps: Maps) -> None:
        geometry = self.net.geometry
        if not isinstance(self.net.classifier, nn.Linear) or maps.layers != (geometry.depth - 1,):
            raise ValueError(
                f"norm='projected' is for the map of the last layer, dict(maps=[{geometry.depth - 1}], "
                f"norm='projected'), of a network with one linear classifier, such as an image tower of CLIP that is "
                f'built with num_classes=512; not for layers {list(maps.layers)} of {geometry.name}, with the '
                f'classifier {type(self.net.classifier).__name__}'
            )

    def _make_map_norms(self, maps: Maps | None, reference: Tensor) -> None:
        widths = [self.net.geometry.widths[layer] for layer in maps.layers] if maps and maps.norm == 'each' else []
        if [norm.weight.numel() for norm in self.map_norms] != widths:  # those that fit may have been trained
            self.map_norms = nn.ModuleList(nn.LayerNorm(width) for width in widths).to(reference)

    def _check_state(self) -> None:
        """Refuse what is not the network that the prompter was bound to: a replica, or one with another pooling."""
        name = type(self.prompter).__name__
        if getattr(self, '_is_replica', False) and (self._handles or self.prompter.stem() is not None):
            raise RuntimeError(
                f'nn.DataParallel does not copy the hooks and kernels by which {name} reaches into the network: use '
                'DistributedDataParallel, one process for each device'
            )
        pooling = getattr(self.net.model, 'global_pool', None)
        if isinstance(pooling, str) and pooling != self._pooling:
            raise ValueError(
                f'global_pool of {self.net.geometry.name} is {pooling!r} now and was {self._pooling!r} when {name} was '
                'bound to it: vptx.detach(model), and attach again'
            )

    def _check_classes(self, logits: Any) -> Any:
        """That a mapping gets the classes that it was bound to: the library's classifier may have been exchanged."""
        if self.mapping.num_classes and logits.shape[-1] != self.net.geometry.classes:
            raise ValueError(
                f'{type(self.mapping).__name__} was bound to {self.net.geometry.classes} classes of '
                f'{self.net.geometry.name}, which now gives {logits.shape[-1]}: detach, and attach again'
            )
        return logits

    def _check_mapping(self, mapping: LabelMapping, readout: Readout) -> None:
        name, geometry = type(mapping).__name__, self.net.geometry
        if readout != OWN:
            raise ValueError(f"{name} reads the network's own logits, readout='{OWN}', not {readout!r}")
        if not geometry.classes:
            raise ValueError(
                f'{name} reads the classes of the network, but {geometry.name} was built without its classifier: '
                'num_classes=1000, say, as many as its weights have'
            )

    def forward(self, image: Tensor, note: Any = None) -> Tensor | tuple:
        """
        Args:
            image: (B, 3, H, W).
            note: anything that the prompter takes (its ``takes_note``), such as a task for each sample (B,); it is
                handed to each of the prompter's methods. A tensor has one entry for each sample.

        Raises:
            ValueError: a note for a prompter that takes none, or a tensor of another number of entries; an image size
                that the network cannot take.
        """
        self._check_state()
        logits = self._check_classes(self.forward_unmapped(image, note))
        if self.mapping.reads_frozen and torch.is_grad_enabled():
            self.mapping.take_frozen(self._forward_frozen(image, logits))
        return self.mapping(logits)

    def forward_unmapped(self, image: Tensor, note: Any = None) -> Tensor | tuple:
        """As ``forward``, without the mapping: the network's own logits (B, K), where they are mapped."""
        return call_with_images(self._forward_unmapped, image, note)

    def _forward_unmapped(self, image: Tensor, note: Any) -> Tensor | tuple:
        return self.read(self.layers(self.embed(image, note)))

    @torch.no_grad()
    def _forward_frozen(self, image: Tensor, logits: Tensor) -> Tensor:
        """As ``forward_unmapped``, of the network without its prompter, whose own result is ``logits``."""
        if any(parameter.requires_grad for parameter in self.net.parameters()):
            raise ValueError(
                f'{type(self.mapping).__name__} compares with the frozen network, and weights of '
                f'{self.net.geometry.name} train: leave them out of tune'
            )
        if not self.prompter.doors:
            return logits.detach()
        with self.without_prompter():
            frozen = self.forward_unmapped(image)
        assert isinstance(frozen, Tensor)
        return frozen

    @contextmanager
    def without_prompter(self, other: Prompter | None = None) -> Iterator[None]:
        """The network as it is without its prompter, or with one that adds nothing to it, such as one that looks at
        tokens."""
        kept = {name: getattr(self, name) for name in ('prompter', '_exact', '_first_rows', 'folded')}
        try:
            self.prompter, self._exact, self._first_rows, self.folded = other or Prompter(), True, None, set()
            yield
        finally:
            for name, value in kept.items():
                setattr(self, name, value)

    @torch.no_grad()
    def _query(self, image: Tensor) -> Tensor:
        """What the network without its prompter makes of the images, after its final norm: the class token, or the
        average of the patches: (B, 3, H, W) -> (B, D)"""
        net = self.net
        tokens = self._called(UNPROMPTED, lambda: net.finish(encode(net, image)))
        return tokens[:, 0] if net.has_class_token else tokens[:, net.geometry.prefix :].mean(1)

    def embed(self, image: Tensor, note: Any = None) -> State:
        """First step, with the prompter on the image: (B, 3, H, W) -> tokens before the first layer, B > 0."""
        net, prompter = self.net, self.prompter
        if note is not None:
            self._check_note(image, note)
        prompted, stem = prompter.image_at(image, OUTSIDE._replace(note=note)), prompter.stem()
        embed = (net.embed, prompted) if stem is None else (net.embed_widened, prompted, stem)
        tokens, context = self._called(OUTSIDE._replace(note=note), *embed)
        strip = prompter.pixels()
        if strip is not None:
            prefix, prompts = net.geometry.prefix, net.embed_pixels(strip).expand(tokens.shape[0], -1, -1)
            tokens = torch.cat([tokens[:, :prefix], prompts, tokens[:, prefix:]], dim=1)
        more = (self._query(image),) if prompter.asks_query else ()
        seen = prompter.look(image, tokens, *more) if prompter.looks else None
        return State(tokens, 0, context, image, seen, note)

    def layers(self, state: State, end: int | None = None) -> State:
        """Second step: through the layers from ``state.layer`` on, with the prompter.

        Args:
            state: from ``embed``, or from this method.
            end: the layer before which to stop; the depth L for all layers. None for all layers, of whose last one only
                the tokens are computed that ``read`` needs.

        Raises:
            ValueError: an end that is before ``state.layer``, or a layer that the network does not have.
        """
        net, folded = self.net, self._is_fresh()
        tokens, context, taps, complete = state.tokens, state.context, dict(state.taps), state.complete
        depth = net.geometry.depth
        last = depth if end is None else end
        if not state.layer <= last <= depth:
            raise ValueError(f'end={end} must be from {state.layer}, where this state is, to {depth}')
        for layer in range(state.layer, last):
            tokens, context = net.merge(tokens, layer, context)
            at = self._at(layer, context.grid, state.seen, state.note)
            memory = self._memory(tokens, at, folded)
            rows = self._first_rows if end is None and layer + 1 == depth else None
            tokens, cut = self._pass(tokens, at, context, memory, rows)
            complete = not cut
            if layer in self._taps:
                taps[layer] = self._tap(tokens, context)
        return state._replace(tokens=tokens, layer=last, context=context, taps=taps, complete=complete)

    def read(self, state: State) -> Tensor | tuple:
        """Last step, after all layers: final norm and readout -> (B, D), (B, D, H', W') or (B, C), or a tuple."""
        net = self.net
        if self._maps:
            return self._read_maps(self._maps, dict(state.taps))
        if self._taps:
            return net.collect(state.taps)
        tokens = self._finish(state, state.tokens)
        if self.readout == OWN:
            return net.classify(tokens, state.context)
        prefix, grid = net.geometry.prefix, state.context.grid
        first_patch = tokens.shape[1] - (grid[0] * grid[1] if state.complete else 0)
        parts = tokens[:, :prefix], tokens[:, prefix:first_patch], tokens[:, first_patch:]
        feature = READOUTS[str(self.readout)](*parts, grid)
        return net.finish_pooled(feature) if feature.dim() == 2 else feature

    def _check_note(self, image: Tensor, note: Any) -> None:
        name = type(self.prompter).__name__
        if not self.prompter.takes_note:
            raise ValueError(
                f'the forward was given a note, and {name} takes none: leave note out, or set takes_note = True in a '
                'prompter that reads at.note'
            )
        if isinstance(note, Tensor) and note.dim() and len(note) != len(image):
            raise ValueError(f'a note of {len(note)} entries for {len(image)} images: {name} takes one for each')

    @torch.enable_grad()
    def frozen_until(self, image: Tensor) -> int | None:
        """The last layer before which nothing that trains has acted on ``image`` (B, 3, H, W): all before it is
        the same until a weight changes. None if nothing trains; autograd determines it.

        Raises:
            ValueError: something that trains acts on the image, or before the first layer or in it.
        """
        # A library's own output may be more than a tuple of tensors; then it is not what to keep.
        if not any(getattr(part, 'requires_grad', True) for part in parts_of(self.forward_unmapped(image))):
            return None
        if self.prompter.looks or self.prompter.needs_image_at_end:
            when = 'before the first layer' if self.prompter.looks else 'again at the end'
            raise ValueError(f'{type(self.prompter).__name__} sees the image {when}')

        def trains(layer: int) -> bool:
            state = self.layers(self.embed(image), layer)
            positions = state.context.positions
            return state.tokens.requires_grad or (positions is not None and positions.requires_grad)

        # Feature maps are collected during the pass, so a cached start must not come after a layer whose map is needed.
        layers = range(1, min([self.net.geometry.depth - 1, *self._taps]) + 1)
        frozen = bisect_left(layers, True, key=trains)
        if not frozen:
            raise ValueError(
                f'{self._acting(image, min(layers, default=None))} trains, on the image or in the first layer'
            )
        return layers[frozen - 1]

    def _acting(self, image: Tensor, layer: int | None) -> str:
        """Some of the parameters that train and have acted before ``layer``, or up to the end."""
        trained = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        found = self.forward_unmapped(image) if layer is None else self.layers(self.embed(image), layer).tokens
        reached = [part.sum() for part in parts_of(found) if isinstance(part, Tensor)]
        gradients = torch.autograd.grad(torch.stack(reached).sum(), list(trained.values()), allow_unused=True)
        names = [name for name, gradient in zip(trained, gradients) if gradient is not None]
        return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')

    def _at(self, layer: int, grid: tuple[int, int], seen: Any = None, note: Any = None) -> At:
        return super()._at(layer, grid, seen, note)._replace(language=self.mapping.language())

    def _finish(self, state: State, tokens: Tensor) -> Tensor:
        """The final norm, and the prompter at the end: (B, M, D) -> (B, M, D)."""
        at = At(None, state.context.grid, None, state.seen, state.note)
        return self.prompter.at_end(self._called(at, self.net.finish, tokens), state.image)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """``with_cp``, as timm's networks have it.

        Raises:
            ValueError: a network that computes its layers in one piece.
        """
        if enable and not self.net.geometry.depth:
            raise ValueError(
                f'{self.net.geometry.name} computes its layers in one piece: there are none to checkpoint one by one; '
                'leave with_cp off'
            )
        self.with_cp = enable

    def _tap(self, tokens: Tensor, context: Context) -> LayerOutput:
        first_patch = tokens.shape[1] - context.grid[0] * context.grid[1]
        return LayerOutput(tokens[:, : self.net.geometry.prefix], tokens[:, first_patch:], context.grid)

    def _read_maps(self, maps: Maps, taps: dict[int, LayerOutput]) -> tuple[Tensor, ...]:
        for norm, layer in zip(self.map_norms, maps.layers, strict=False):  # none, or one for each
            taps[layer] = taps[layer]._replace(patches=norm(taps[layer].patches))
        last = self.net.geometry.depth - 1
        if maps.norm in ('final', 'projected') and last in taps:
            patches = self.net.finish(taps[last].patches)
            if maps.norm == 'projected':
                classifier: Any = self.net.classifier  # of which set_prompter has made sure
                patches = classifier(self.net.finish_pooled(patches))
            taps[last] = taps[last]._replace(patches=patches)
        return tuple(taps[layer].map for layer in maps.layers)

    def _memory(self, tokens: Tensor, at: At, folded: bool) -> Memory | None:
        layer = at.layer
        assert layer is not None
        if folded and layer in self.folded and self.net.is_spelt(layer):
            return KeyValue(getattr(self, f'key_{layer}'), getattr(self, f'value_{layer}'))
        return self.prompter.memory(tokens, at)

    @torch.inference_mode(False)  # what is kept may be used where gradients are asked for
    @torch.no_grad()
    def fold(self) -> 'PromptedNetwork':
        """Compute the keys and values of all memory once, for inference; training again unfolds.

        They are computed in the precision of the parameters. Where a parameter or a buffer that they may depend on has
        changed since, the next forward computes them again. Two changes cannot be seen: one that is written through
        ``tensor.data``, and any under a compiler. Fold again after those.

        Raises:
            ValueError: nothing to fold: no prompts enter as memory, or they differ from sample to sample, or with the
                size of the image or a note.
        """
        self.unfold()
        self.eval()
        name = type(self.prompter).__name__
        depends = self.prompter.looks or self.prompter.depends_on_image
        if depends or self.prompter.takes_note:
            on = 'the image' if depends else 'the note'
            raise ValueError(f'{name} cannot be folded: its prompts depend on {on}')
        with torch.autocast(next(self.net.parameters()).device.type, enabled=False):
            small, large = (self._make_memory(grid) for grid in ((1, 1), (1, 2)))
        if not small:
            raise ValueError(f'{name} cannot be folded: it has no prompts that act as keys and values alone')
        if any(ready.key.dim() > 3 for ready in small.values()):
            raise ValueError(f'{name} cannot be folded: its prompts depend on the image')
        for layer, ready in small.items():
            other = large.get(layer)
            if other is None or not all(map(torch.equal, ready[:2], other[:2])):
                raise ValueError(f"{name} cannot be folded: its prompts depend on the image's size")
            for part, tensor in zip(('key', 'value'), ready[:2], strict=True):
                self.register_buffer(f'{part}_{layer}', tensor, persistent=False)
        self.folded = set(small)
        self._folded_from = [(tensor, *stamp(tensor)) for tensor in self._sources()]
        return self

    def _make_memory(self, grid: tuple[int, int]) -> dict[int, KeyValue]:
        """Keys and values of the memory of each layer that has one, for two black images of so many patches."""
        net, found = self.net, dict[int, KeyValue]()
        probe = next(net.parameters())
        for layer, width in enumerate(net.geometry.widths):
            if net.is_spelt(layer):
                tokens = probe.new_zeros(2, net.geometry.prefix + grid[0] * grid[1], width)
                memory = self.prompter.memory(tokens, self._at(layer, grid))
                if memory is not None:
                    found[layer] = net.keys_values(memory, layer)
        return found

    @torch.inference_mode(False)
    @torch.no_grad()
    def merge(self) -> 'PromptedNetwork':
        """Put what the prompter does into the weights of the network, for inference; training again unmerges.

        What is left of the prompter, if anything, stays. The output on two random images is compared with that before:
        a network that computes something else from its weights than its modules do is left as it was.

        Raises:
            ValueError: nothing of the prompter is another weight; a module that would change has a hook or a
                parametrisation, is quantised, or is no plain affine map; or the output would be another one.
        """
        self.unmerge()
        self.unfold()
        self.eval()
        prompter, probe = self.prompter, next(self.net.parameters())
        generator = torch.Generator().manual_seed(0)
        image = torch.randn(2, self.net.geometry.channels, *self.net.geometry.image, generator=generator).to(probe)
        expected = self._last_tokens(image)
        for handle in self._handles:  # the prompter's own hooks, which are none of a tool
            handle.remove()
        weights = NetWeights(self.net)
        try:
            left = prompter.merge(weights)
            self.merged = Merged(prompter, weights.write())
            self._set_left(left or Prompter())
            found = self._last_tokens(image)
            scale = expected.abs().max()
            if not (found - expected).abs().max() <= 3 * torch.finfo(found.dtype).eps ** 0.5 * scale:
                raise ValueError(
                    f'{self.net.geometry.name} with {type(prompter).__name__} merged into its weights gives another '
                    'output: it computes something else from them than its modules do. Nothing was changed'
                )
        except Exception:
            self.merged = self.merged or Merged(prompter, [])
            self.unmerge()
            raise
        return self

    def _last_tokens(self, image: Tensor) -> Tensor:
        depth = self.net.geometry.depth
        return self.net.finish(self.layers(self.embed(image), depth).tokens)

    def _set_left(self, prompter: Prompter) -> None:
        """Another prompter under the same readout, mapping and class names."""
        classes, mapping = self.classes, self.mapping if self.mapping.num_classes else None
        self.set_prompter(prompter, self.readout, mapping)
        self.classes = classes

    @torch.inference_mode(False)
    @torch.no_grad()
    def unmerge(self) -> None:
        """Undo ``merge``: the saved weights, bit for bit, and the prompter."""
        if self.merged is None:
            return
        merged, self.merged = self.merged, None
        restore(merged.saved)
        self._set_left(merged.prompter)

    def unfold(self) -> None:
        """Forget folded keys and values."""
        for layer in self.folded:
            delattr(self, f'key_{layer}')
            delattr(self, f'value_{layer}')
        self.folded = set()
        self._folded_from = []

    def _sources(self) -> list[Tensor]:
        """All that folded keys and values may have been made from."""
        found, modules = list[Tensor](), [self.prompter, self.net, self.mapping]
        while modules:  # in every forward, so without the names that ``parameters()`` makes
            module = modules.pop()
            modules += [part for part in module._modules.values() if part is not None]
            held = (*module._parameters.values(), *module._buffers.values())
            found += [tensor for tensor in held if tensor is not None]
        return found

    def _is_fresh(self) -> bool:
        """Whether folded keys and values, if any, are those of the present prompts and weights. Folds again where they
        have changed in place; not where others stand in for them, as in ``torch.func.functional_call``."""
        if not self.folded or torch.compiler.is_compiling():
            return True
        now = self._sources()
        if len(now) != len(self._folded_from) or any(
            a is not b for a, (b, *_) in zip(now, self._folded_from, strict=True)
        ):
            return False
        if any(stamp(tensor) != tuple(before) for tensor, *before in self._folded_from):
            self.fold()
        return True

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        self.unmerge()
        if not self.prompter.state_dict() and any(name.startswith(f'{prefix}prompter.') for name in state):
            raise ValueError(
                'this checkpoint holds prompts, and the model has none: add PromptTuningHook, or call vptx.attach, '
                'with the prompter that they were trained with'
            )
        self.unfold()  # other prompts have other keys and values
        super()._load_from_state_dict(state, prefix, *others)

    def train(self, mode: bool = True) -> 'PromptedNetwork':
        """Training mode for the prompter and for the tuned parts of the network; what is frozen stays in eval mode."""
        if mode:
            self.unmerge()
        super().train(mode)
        set_mode(self.net, mode)
        set_mode(self.prompter, mode, partly=True)
        set_mode(self.mapping, mode, partly=True)
        if mode:
            self.unfold()
        return self

    def init_weights(self) -> None:
        """Nothing: the network's weights came with it, the prompter's were drawn when it was bound."""


@MODELS.register_module()
class PromptedBackbone(PromptedNetwork):
    """A prompted network as a backbone of OpenMMLab: (B, 3, H, W) -> a tuple of features.

    They are (B, D) under a head of mmpretrain, and maps (B, D, H', W') where the readout asks for maps.

    Args:
        net, readout, with_cp: of ``PromptedNetwork``.
    """

    _warned = False

    def forward(self, image: Tensor, note: Any = None) -> tuple[Tensor, ...]:
        if self.training and self.attach_state is None and not self._warned and torch.is_grad_enabled():
            self._warn()
        return parts_of(super().forward(image, note))

    def _warn(self) -> None:
        """Once: full fine-tuning that the config does not ask for."""
        self._warned = True
        if all(parameter.requires_grad for parameter in self.parameters()):
            size = sum(parameter.numel() for parameter in self.parameters())
            print_log(
                f'PromptedBackbone trains without prompts, all {size:,} parameters: '
                "add dict(type='PromptTuningHook', prompter=..., tune=['head']) to custom_hooks, or call vptx.attach; "
                "tune=['.*'] says that all is to train",
                'current',
                logging.WARNING,
            )


def parts_of(output: Tensor | tuple) -> tuple:
    """What a forward returned, as a tuple: of one tensor, where it is no tuple already."""
    return output if isinstance(output, tuple) else (output,)
