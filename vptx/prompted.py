"""The hall: where a frozen network and a prompter meet. The only forward loop with prompts.

image -> embed -> (merge, enter, block, leave) x L -> finish -> readout
"""

import logging
from bisect import bisect_left
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vptx.backbones.base import Context, KeyValue, LayerOutput, Net
from vptx.backbones.linear import FusedLinear
from vptx.geometry import Site
from vptx.mappings.base import LabelMapping
from vptx.prompters.base import AMONG_TOKENS, Prompter
from vptx.readout import FIRST_ROWS, MAPS, OWN, READOUTS, READS_PROMPTS, Maps, Readout, check_readout, read_maps
from vptx.registry import MODELS, NETS, build
from vptx.trainable import set_mode

__all__ = ['Known', 'PromptedBackbone', 'PromptedNetwork']


class Known(NamedTuple):
    """What a hall has made of images, to be given to it in their place; :meth:`PromptedNetwork.begin` makes it.

    Attributes:
        value: what :meth:`PromptedNetwork.read` returns or, with ``layer``, tokens in front of that one (B, K+N, D).
        layer: where to go on; None where nothing is left to do.
        context: what the net knows of the images beside ``value``, with ``layer``.
    """

    value: Tensor | tuple
    layer: int | None = None
    context: Context = Context((0, 0))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.value if isinstance(self.value, tuple) else (self.value,)

    def holding(self, tensors: tuple[Tensor, ...]) -> 'Known':
        """The same of other images."""
        return self._replace(value=tensors if isinstance(self.value, tuple) else tensors[0])

    def to(self, device: torch.device) -> 'Known':
        return self.holding(tuple(tensor.to(device) for tensor in self.tensors))


class PromptedNetwork(BaseModule):
    """A network, a prompter and a label mapping (none, to begin with) and a readout: (B, 3, H, W) -> (B, D),
    (B, D, H', W') or (B, C). Of several layers, a tuple of feature maps.

    Args:
        net: a :class:`~vptx.backbones.base.Net`, or its config, e.g.
            ``dict(type='TimmViT', model='vit_base_patch16_224.orig_in21k', img_size=224)``.
        readout: what is made of the last layer's tokens, one of :data:`~vptx.readout.READOUTS`; ``'logits'``, the
            network's own pooling and classifier; ``'maps'`` or ``dict(maps=[layers])``, feature maps of several
            layers (:class:`~vptx.readout.Maps`). By default what the network was trained with.
        with_cp: checkpoint activations: keep of each layer its input alone and compute the rest again on the way back.
            The same gradients, less memory, a forward more. OpenMMLab's name; timm's is :meth:`set_grad_checkpointing`.

    Attributes:
        prompter: what is learnt; a :class:`~vptx.prompters.base.Prompter` that does nothing while unplugged.
        mapping: how the network's own classes are read as others; a :class:`~vptx.mappings.LabelMapping` that does
            nothing while there is none.
        frozen_from: the checkpoint that filled a stock backbone after it was prompted; empty for all others.
        classes: the names of the classes of what is learnt, with who gave them
            (:class:`~vptx.prompt_file.ClassNames`), as soon as a file or the data have named them.
        before: what :func:`vptx.attach` changed, for :func:`vptx.detach` to restore; None while unplugged.
    """

    def __init__(self, net: Net | dict, readout: Readout | None = None, with_cp: bool = False) -> None:
        super().__init__()
        self.net: Net = build(NETS, net)
        self.set_grad_checkpointing(with_cp)
        self.readout: Readout = readout or self.net.readout
        self.map_norms = nn.ModuleList()
        self.folded: set[int] = set()
        self.before: Any = None
        self.frozen_from = ''
        self.classes: Any = None
        self._handles: list = []
        self.plug(Prompter())

    def plug(self, prompter: Prompter, readout: Readout | None = None, mapping: LabelMapping | None = None) -> None:
        """Bind ``prompter`` and ``mapping`` to the network.

        Raises:
            ValueError: a door that the network does not have, a readout that cannot be served, a mapping of the logits
                of a network without a classifier or of what are no logits.
        """
        self.classes = None
        geometry, readout = self.net.geometry, readout or (OWN if mapping else self.readout)
        if mapping is not None:
            self._check_mapping(mapping, readout)
            mapping.bind(geometry.classes)
        lacking = prompter.doors - geometry.doors
        if lacking:
            raise ValueError(
                f'{type(prompter).__name__} enters by {", ".join(sorted(prompter.doors))}, but {geometry.name} has no '
                f'door {", ".join(sorted(lacking))}, only {", ".join(sorted(geometry.doors))}'
            )
        maps = read_maps(readout, geometry.depth, self.net.stages, self.net.map_norm)
        name = MAPS if maps else str(readout)
        if 'inside' in prompter.doors:  # attention to a memory calls no modules: prompts beside go in as tokens
            geometry = replace(geometry, doors=geometry.doors - {'memory'})
        prompter.bind(geometry, reads_prompts=name in READS_PROMPTS)
        has_tokens = geometry.tokens > 0
        check_readout(name, geometry.name, self.net.has_class_token, has_tokens, prompter.prompts_at_end)
        self.unfold()
        self.readout = readout
        self._maps = maps
        self._taps = frozenset(maps.layers if maps else self.net.taps if name == OWN else ())
        read = self.net.own_rows if name == OWN else FIRST_ROWS.get(name)
        # Equal to rounding, so only where a prompter changes what goes on among the tokens: without one, or with pixels
        # that are zero, the network is its library's bit for bit.
        among_tokens = bool(prompter.doors & AMONG_TOKENS)
        self._first_rows = read if among_tokens and not (self._taps or prompter.sees_the_end) else None
        FusedLinear.replace(self.net, among_tokens)
        reference = next(self.net.parameters())
        self._make_map_norms(maps, reference)
        self.prompter = prompter.to(reference.device)
        self.mapping = (mapping or LabelMapping()).to(reference.device)
        for handle in self._handles:
            handle.remove()
        # A partial of a method, not a closure: a copy of the hall calls the copy's own prompter.
        self._handles = [
            self.net.module_at(site).register_forward_hook(partial(self._inside, site)) for site in prompter.sites
        ]
        self.train(self.training)

    def _make_map_norms(self, maps: Maps | None, reference: Tensor) -> None:
        widths = [self.net.geometry.widths[layer] for layer in maps.layers] if maps and maps.norm == 'each' else []
        if [norm.weight.numel() for norm in self.map_norms] != widths:  # those that fit may have been trained
            self.map_norms = nn.ModuleList(nn.LayerNorm(width) for width in widths).to(reference)

    def _check_mapping(self, mapping: LabelMapping, readout: Readout) -> None:
        name, geometry = type(mapping).__name__, self.net.geometry
        if readout != OWN:
            raise ValueError(f"{name} reads the network's own logits, readout='{OWN}', not {readout!r}")
        if not geometry.classes:
            raise ValueError(
                f'{name} reads the classes of the network, but {geometry.name} was built without its classifier: '
                'num_classes=1000, say, as many as its weights have'
            )

    def forward(self, image: Tensor | Known) -> Tensor | tuple:
        return self.mapping(self.read(image))

    def read(self, image: Tensor | Known) -> Tensor | tuple:
        """As :meth:`forward`, without the mapping: the network's own logits (B, K), where they are mapped."""
        return self._run(image).value

    def begin(self, image: Tensor, layer: int | None) -> Known:
        """As far as in front of ``layer``, or all of :meth:`read`: image (B, 3, H, W) -> what read goes on with."""
        return self._run(image, layer)

    @torch.enable_grad()
    def frozen_until(self, image: Tensor) -> int | None:
        """The last layer in front of which nothing that trains has acted on ``image`` (B, 3, H, W): all before it is
        the same for ever. None if nothing trains; autograd tells.

        Raises:
            ValueError: something that trains acts on the image, or in front of the first layer or in it.
        """
        # A library's own output may be more than a tuple of tensors; then it is not what to keep.
        if not any(getattr(tensor, 'requires_grad', True) for tensor in self._run(image).tensors):
            return None
        if self.prompter.sees_the_image:
            raise ValueError(f'{type(self.prompter).__name__} sees the image again at the end')

        def trains(layer: int) -> bool:
            known = self._run(image, layer)
            positions = known.context.positions
            return known.tensors[0].requires_grad or (positions is not None and positions.requires_grad)

        # A map of a layer is taken on the way: to begin behind it would be to lose it.
        layers = range(1, min([self.net.geometry.depth - 1, *self._taps]) + 1)
        frozen = bisect_left(layers, True, key=trains)
        if not frozen:
            raise ValueError(
                f'{self._acting(image, min(layers, default=None))} trains, on the image or in the first layer'
            )
        return layers[frozen - 1]

    def _acting(self, image: Tensor, layer: int | None) -> str:
        """Some of the parameters that train and have acted in front of ``layer``, or up to the end."""
        trained = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        reached = [tensor.sum() for tensor in self._run(image, layer).tensors if isinstance(tensor, Tensor)]
        gradients = torch.autograd.grad(torch.stack(reached).sum(), list(trained.values()), allow_unused=True)
        names = [name for name, gradient in zip(trained, gradients) if gradient is not None]
        return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')

    def _embed(self, image: Tensor) -> tuple[Tensor, Context]:
        net, prompter = self.net, self.prompter
        seen, stem = prompter.image(image), prompter.stem()
        tokens, context = net.embed(seen) if stem is None else net.embed_widened(seen, stem)
        strip = prompter.pixels()
        if strip is not None:
            prefix, prompts = net.geometry.prefix, net.embed_pixels(strip).expand(len(tokens), -1, -1)
            tokens = torch.cat([tokens[:, :prefix], prompts, tokens[:, prefix:]], dim=1)
        return tokens, context

    def _run(self, image: Tensor | Known, until: int | None = None) -> Known:
        """From the image, or from what is known of it, to the end, or in front of the layer ``until``."""
        net, prompter = self.net, self.prompter
        if not isinstance(image, Known):
            begin, (tokens, context) = 0, self._embed(image)
        elif image.layer is None:
            return image
        else:
            (tokens,), begin, context = image.tensors, image.layer, image.context
        prefix = net.geometry.prefix
        taps: dict[int, LayerOutput] = {}
        first: Tensor | None = None
        for layer in range(begin, net.geometry.depth):
            if layer == until:
                return Known(tokens, layer, context)
            tokens, context = net.merge(tokens, layer, context)
            memory = self._memory(tokens, layer)
            tokens = prompter.enter(tokens, layer)
            if self._first_rows and layer + 1 == net.geometry.depth:
                first = net.first_rows(tokens, layer, context, memory, self._first_rows)
            tokens = self._block(tokens, layer, context, memory) if first is None else first
            tokens = prompter.leave(tokens, layer)
            if layer in self._taps:
                taps[layer] = self._tap(tokens, context)
        if self._maps:
            return Known(self._read_maps(self._maps, taps))
        if self._taps:
            return Known(net.collect(taps))
        tokens = prompter.beside(net.finish(tokens), image)
        if self.readout == OWN:
            return Known(net.classify(tokens, context))
        patches = context.grid[0] * context.grid[1] if first is None else 0
        first_patch = tokens.shape[1] - patches
        parts = tokens[:, :prefix], tokens[:, prefix:first_patch], tokens[:, first_patch:]
        feature = READOUTS[str(self.readout)](*parts, context.grid)
        return Known(net.finish_pooled(feature) if feature.dim() == 2 else feature)

    def _block(self, tokens: Tensor, layer: int, context: Context, memory: Tensor | KeyValue | None) -> Tensor:
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(self.net.block, tokens, layer, context, memory, use_reentrant=False)
        return self.net.block(tokens, layer, context, memory)

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
        if maps.norm == 'final' and last in taps:
            taps[last] = taps[last]._replace(patches=self.net.finish(taps[last].patches))
        return tuple(taps[layer].map for layer in maps.layers)

    def _memory(self, tokens: Tensor, layer: int) -> Tensor | KeyValue | None:
        if layer in self.folded:
            return KeyValue(getattr(self, f'key_{layer}'), getattr(self, f'value_{layer}'))
        return self.prompter.memory(tokens, layer)

    def _inside(self, site: Site, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return self.prompter.inside(site, inputs[0], output)

    @torch.no_grad()
    def fold(self) -> 'PromptedNetwork':
        """Compute the keys and values of all memory once, for inference; training again unfolds.

        Raises:
            ValueError: nothing to fold: no prompts enter as memory, or they differ from sample to sample.
        """
        self.unfold()
        self.eval()
        net, geometry = self.net, self.net.geometry
        probe = next(net.parameters())
        tokens = [probe.new_zeros(2, geometry.prefix + 1, width) for width in geometry.widths]
        memory = {layer: self.prompter.memory(tokens[layer], layer) for layer in range(geometry.depth)}
        memory = {layer: prompts for layer, prompts in memory.items() if prompts is not None}
        name = type(self.prompter).__name__
        if not memory:
            raise ValueError(f'{name} cannot be folded: it has no prompts that act as keys and values alone')
        if any(prompts.dim() > 2 for prompts in memory.values()):
            raise ValueError(f'{name} cannot be folded: its prompts depend on the image')
        for layer, prompts in memory.items():
            for part, tensor in zip(('key', 'value'), net.keys_values(prompts, layer), strict=True):
                self.register_buffer(f'{part}_{layer}', tensor, persistent=False)
        self.folded = set(memory)
        return self

    def unfold(self) -> None:
        """Forget folded keys and values."""
        for layer in self.folded:
            delattr(self, f'key_{layer}')
            delattr(self, f'value_{layer}')
        self.folded = set()

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        if not self.prompter.state_dict() and any(name.startswith(f'{prefix}prompter.') for name in state):
            raise ValueError(
                'this checkpoint holds prompts, and the model has none: add PromptTuningHook, or call vptx.attach, '
                'with the prompter that they were trained with'
            )
        self.unfold()  # other prompts have other keys and values
        super()._load_from_state_dict(state, prefix, *others)

    def train(self, mode: bool = True) -> 'PromptedNetwork':
        """Training mode for the prompter and for the tuned parts of the network; what is frozen stays in eval mode."""
        super().train(mode)
        set_mode(self.net, mode)
        set_mode(self.prompter, mode)
        set_mode(self.mapping, mode)
        if mode:
            self.unfold()
        return self

    def init_weights(self) -> None:
        """Nothing: the network's weights came with it, the prompter's were drawn when it was bound."""


@MODELS.register_module()
class PromptedBackbone(PromptedNetwork):
    """The hall as OpenMMLab's heads know a backbone: its forward returns a tuple of features."""

    _warned = False

    def forward(self, image: Tensor | Known) -> tuple[Tensor, ...]:
        if self.training and self.before is None and not self._warned and torch.is_grad_enabled():
            self._warn()
        features = super().forward(image)
        return features if isinstance(features, tuple) else (features,)

    def _warn(self) -> None:
        """Once: full fine-tuning where nobody asked for it."""
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
