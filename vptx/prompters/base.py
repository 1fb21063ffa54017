"""What is learnt: a small thing that reaches a frozen network through its doors.

A prompter knows shapes (``Geometry``), never a network. The prompted network (``vptx/prompted.py``)
calls its methods in the order in which they stand here; those it does not override leave everything as it is. Methods
that act in a layer get ``at``, which says where they are (``At``).
"""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

import torch
from mmengine.model import BaseModule
from torch import Tensor

from vptx.arguments import asked, plain
from vptx.geometry import Affine, At, EachMemory, Geometry, KeyValue, MixedMemory, Site
from vptx.prompters.old_names import adapt, give_old_names

__all__ = [
    'AMONG_TOKENS',
    'InsidePrompter',
    'Prompter',
    'TokenPrompter',
    'check_grid',
    'check_whole',
    'pick_layers',
    'pick_sites',
]

#: The doors by which a prompter changes what goes on among the tokens.
AMONG_TOKENS = frozenset({'tokens', 'memory'})


def check_whole(name: str, number: int, least: int = 1) -> int:
    """``number``, or a ValueError that says what ``name`` must be."""
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise ValueError(f'{name} must be a whole number of at least {least}, not {number!r}')
    return number


class Prompter(BaseModule):
    """A prompter that does nothing: the base of all others, and that of a network without a prompter.

    Attributes:
        doors: those it needs; a network that lacks one is refused when the two are put together.
        uses: those it goes through with the network that it is bound to.
        phrase: in a text tower, words before a class name in the place of the head's template; their first ones
            are what ``words`` replaces.
        name_at: where the name stands among these: at the ``'end'``, in the ``'middle'`` or in ``'front'``.
        slots: M, how many words are replaced.
        per_class: whether each class has learnt words of its own, so that no others can be read.
        asks_query: whether ``look`` gets the feature of the frozen network, too.
        takes_note: whether it reads ``at.note``; a note that is given to another prompter is an error.
        depends_on_image: whether its memory differs from image to image, so that it cannot be folded.
        reads_language: whether it makes its prompts of those of the text side, ``at.language``.
        prompts_at_end: whether prompt tokens can be there after the last layer, for a readout that reads them.
        sites: once bound, the modules inside the network whose outputs go through ``inside``.
        bound_to: what ``vptx.binding.bind`` bound it to, if it did.
        of_training: arguments of constructors that say how the learnt numbers begin and how they are trained, not what
            they mean afterwards.
    """

    depends_on_image: bool = False
    of_training: ClassVar[frozenset[str]] = frozenset({'init', 'stem', 'weights', 'dropout', 'dropout_per'})

    doors: frozenset[str] = frozenset()
    phrase: str | None = None
    name_at: str = 'end'
    slots: int = 0
    per_class: bool = False
    asks_query: bool = False
    takes_note: bool = False
    reads_language: bool = False
    prompts_at_end: bool = False
    sites: tuple[Site, ...] = ()
    bound_to: tuple | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        adapt(cls, Prompter)

    def __new__(cls, *arguments: Any, **named: Any) -> 'Prompter':
        made = super().__new__(cls)
        made.__dict__['_settings'] = plain(asked(cls, Prompter, arguments, named))
        return made

    @property
    def settings(self) -> dict[str, Any]:
        """What its constructor was asked for, as far as it says what the learnt numbers mean; plain numbers and words.

        A prompt file keeps it, and does not go into a prompter with other settings.
        """
        return {name: value for name, value in self._settings.items() if name not in self.of_training}

    @property
    def uses(self) -> frozenset[str]:
        return self.doors

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        """Allocate parameters, once the shapes are known.

        Args:
            geometry: of the network.
            reads_prompts: whether the readout uses the prompts' own outputs after the last layer.

        Raises:
            ValueError: shapes that it cannot do with.
        """

    def geometry_after(self, geometry: Geometry) -> Geometry:
        """The geometry for prompters that come after this one in a stack, of the images that ``image`` makes."""
        return geometry

    def frozen_tensors(self) -> Iterable[tuple[str, Tensor]]:
        """Frozen numbers of its own, by name, which no prompt file holds: the file's fingerprint covers them."""
        return ()

    def image(self, image: Tensor) -> Tensor:
        """Door 1, on the image: (B, 3, H, W) -> (B, 3, H', W'), or (B, 3+T, H', W') with a ``stem`` for it."""
        return image

    def image_at(self, image: Tensor, at: At) -> Tensor:
        """As ``image``, which it calls, for what reads ``at.note`` of the forward."""
        return self.image(image)

    def stem(self) -> Tensor | None:
        """Door 1, for further channels of the image: (D, 3+T, h, w), added to the kernels of the convolution that sees
        it, which are zero on the T new channels; or None. Shapes: ``geometry.stem``."""
        return None

    def pixels(self) -> Tensor | None:
        """Door 1, next to the image: a row of learnt patches (3, patch height, P * patch width), or None. The
        network's own patch embedding makes tokens of it, without positions, put between the prefix and the patches."""
        return None

    def look(self, image: Tensor, tokens: Tensor) -> Any:
        """Once in a forward, before the first layer: what it returns is ``at.seen`` in all other methods.

        Args:
            image: as the forward was given it (B, 3, H, W).
            tokens: before the first layer (B, K+N, D).

        With ``asks_query = True`` it is ``look(image, tokens, query)``, and ``query`` what the frozen network without
        any prompter makes of the image (B, D): its class token after the final norm, or the average of its patches.
        """
        return None

    def begin_task(self, task: int) -> None:
        """Of a run that learns one task after the other: which one begins, counted from 0."""

    def memory(self, tokens: Tensor, at: At) -> Tensor | KeyValue | MixedMemory | EachMemory | None:
        """Door 3: what the layer attends to and never updates; or None.

        Tokens (P, D), or (B, P, D), of which the layer makes keys and values, or these themselves, raw:
        ``KeyValue`` of (heads, P, d), or (B, heads, P, d). ``geometry.heads`` and ``geometry.head_width`` have the
        shapes. A layer that has to be called, because a module of it was changed, takes tokens alone.
        """
        return None

    def before_layer(self, tokens: Tensor, at: At) -> Tensor:
        """Door 2, before a layer: (B, K+N, D) -> (B, K+P+N, D)."""
        return tokens

    def between(self, tokens: Tensor, at: At) -> Tensor:
        """Door 3, in the middle of a layer, after the shortcut around attention and before the second norm:
        (B, M, D) -> (B, M, D). A layer that has to be called, because a module of it was changed, has no middle:
        that is an error of the forward."""
        return tokens

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        """Inside the network, one of ``sites``: what its module made of ``input`` (..., inputs) -> (..., outputs).

        No prompt, but what prompts are measured against: adapters, low-rank updates, scales and shifts.
        """
        return output

    def after_layer(self, tokens: Tensor, at: At) -> Tensor:
        """Door 2, after a layer: back to (B, K+N, D), unless the prompts go on."""
        return tokens

    def at_end(self, tokens: Tensor, image: Tensor) -> Tensor:
        """Door 2, at the end: finished tokens (B, M, D) and the image (B, 3, H, W) they came from -> (B, M, D)."""
        return tokens

    def loss(self) -> Mapping[str, Tensor]:
        """Terms that training adds to the loss, by name; asked for after a forward. None initially."""
        return {}

    def plain(self) -> 'Prompter | None':
        """The ``DeepPrompter`` that computes the same once trained, bound; None without one."""
        return None

    def merge(self, weights: MutableMapping[Site, Affine]) -> 'Prompter | None':
        """For inference: put what it does into weights of the network, as far as that is exact.

        Args:
            weights: of the module at each site of the geometry, which may be exchanged. Reading those of a module that
                is no plain affine map is an error.

        Returns:
            The prompter that is left, bound, or None if nothing is.

        Raises:
            ValueError: nothing of it is another weight.
        """
        raise ValueError(f'{type(self).__name__} cannot be merged: what it does is no change of weights')

    def words(self, at: At) -> Tensor | None:
        """Door ``words`` of a text tower: the vectors in the slots of each sentence, before positions are added: (M, D)
        of all classes, (C, M, D) of each class, or (B, 1, M, D) or (B, C, M, D) of each image, too, with ``at.note``
        their embeddings (B, d)."""
        return None

    def language(self) -> tuple[Tensor, ...]:
        """In a text tower, its prompts of each layer, from the first on, (P, D) each, for a prompter of the image side
        that is made of them (``at.language``); empty where there are none that all classes share."""
        return ()

    @property
    def gap(self) -> int:
        """How many tokens it puts after the first one of a text, before the first layer."""
        return 0

    @property
    def shares_prefix(self) -> bool:
        """Whether, in a text tower, it does the same to the rows before the class names whatever the name, and to
        the others nothing, or the same to each row by itself. Then the first rows run once for all classes."""
        kind, base = type(self), Prompter
        among = ('memory', 'before_layer', 'between', 'inside', 'after_layer', 'at_end', 'look')
        return all(getattr(kind, name) is getattr(base, name) for name in among)

    @property
    def looks(self) -> bool:
        """Whether ``look`` is to be called."""
        return type(self).look is not Prompter.look

    @property
    def acts_between(self) -> bool:
        """Whether ``between`` is to be called."""
        return type(self).between is not Prompter.between

    @property
    def adds_loss(self) -> bool:
        """Whether ``loss`` is to be asked."""
        return type(self).loss is not Prompter.loss

    @property
    def adds_tokens(self) -> bool:
        """Whether it puts tokens among those of the image, which one prompter of a stack may do."""
        kind = type(self)
        return kind.before_layer is not Prompter.before_layer or kind.pixels is not Prompter.pixels

    @property
    def needs_all_tokens(self) -> bool:
        """Whether ``after_layer`` or ``at_end`` need all tokens of the last layer, or do with those that are
        read."""
        kind = type(self)
        return kind.after_layer is not Prompter.after_layer or kind.at_end is not Prompter.at_end

    @property
    def needs_image_at_end(self) -> bool:
        """Whether ``at_end`` needs the image, after all layers."""
        return type(self).at_end is not Prompter.at_end


give_old_names(Prompter)


def pick_layers(layers: Sequence[int] | None, geometry: Geometry) -> tuple[int, ...]:
    """``layers`` of a network, counted from 0, negative from the end; None for all -> from 0, sorted, each once.

    Raises:
        ValueError: layers that the network does not have.
    """
    depth = geometry.depth
    asked = range(depth) if layers is None else layers
    bad = [layer for layer in asked if type(layer) is not int or not -depth <= layer < depth]
    if bad:
        raise ValueError(f'layers {bad} are out of range: {geometry.name} has layers 0 to {depth - 1}')
    return tuple(sorted({layer % depth for layer in asked}))


def check_grid(asker: str, geometry: Geometry) -> None:
    """Refuse a network that has no grid of patches, such as a text tower.

    Raises:
        ValueError: says which network.
    """
    if 'words' in geometry.doors or not geometry.widths:
        raise ValueError(f'{asker} convolves the grid of the patches of an image, and {geometry.name} has none')


def check_listed(layers: Sequence[int] | None) -> Sequence[int] | None:
    """``layers``, or a ValueError that says what they must be."""
    if layers is not None and (isinstance(layers, (str, int)) or len(layers) == 0):
        raise ValueError(f'layers must be a list of at least one layer, or None for all; not {layers!r}')
    return layers


def pick_sites(
    asker: str, geometry: Geometry, layers: Sequence[int] | None, names: Iterable[str], around: bool = False
) -> tuple[Site, ...]:
    """The network's sites of these names in ``layers``.

    Args:
        asker: who asks, for errors.
        geometry: of the network.
        layers: of ``pick_layers``.
        names: of sites.
        around: whether those before and after the layers are meant too, where all layers are.

    Raises:
        ValueError: layers that the network does not have, or one that calls no such module.
    """
    wanted, picked = set(names), pick_layers(layers, geometry)
    places = {*picked, *((None,) if around and layers is None else ())}
    sites = tuple(site for site in geometry.sites if site.name in wanted and site.layer in places)
    lacking = sorted(set(picked) - {site.layer for site in sites}, key=int)
    if lacking:
        there = dict.fromkeys(site.name for site in geometry.sites if site.layer == lacking[0])
        raise ValueError(
            f'{asker} acts on {", ".join(sorted(wanted))}, and layer {lacking[0]} of {geometry.name} '
            f'calls no such module, only {", ".join(there) or "none"}'
        )
    return sites


class InsidePrompter(Prompter):
    """What changes modules inside layers: adapters, low-rank updates, scales and shifts.

    Args:
        layers: in which layers, counted from 0, negative from the end; None for all. ``range(-6, 0)`` is the last six.

    Raises:
        ValueError: no layer; when bound, a layer that the network does not have, or one without such modules.
    """

    doors = frozenset({'inside'})
    shares_prefix = True

    def __init__(self, layers: Sequence[int] | None = None) -> None:
        super().__init__()
        self._asked = check_listed(layers)

    def pick_sites(self, geometry: Geometry, names: Iterable[str], around: bool = False) -> tuple[Site, ...]:
        """The network's sites of these names in the layers asked for.

        Args:
            geometry: of the network.
            names: of sites.
            around: whether those before and after the layers are meant too, where all layers are.
        """
        return pick_sites(type(self).__name__, geometry, self._asked, names, around)

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'layers': sorted({site.layer for site in self.sites if site.layer is not None})}


class TokenPrompter(Prompter):
    """Prompt tokens between the prefix and the patches, put in before each of ``layers``.

    A subclass says what they are (``prompts``). How they get in is decided here, by what is read. If the outputs of
    the prompts are not used, the prompts only act as keys and values, and the same numbers come from door 3 for
    a fraction of the work; elsewhere they go in as tokens (door 2).

    Args:
        num_tokens: P.
        layers: before which layers new prompts are put in, counted from 0, negative from the end; None for all.
        carry: whether the outputs of the prompts go on through layers that have none of their own, or are dropped.

    Attributes:
        embedded: whether prompts of the first layer go through what the network does to embedded patches before it
            (``at.admit``), as the public codes for CLIP do; in text towers they always do.

    Raises:
        ValueError: fewer than one prompt, or no layer; when bound, a layer that the network does not have.
    """

    doors = frozenset({'tokens'})
    embedded: bool = False

    def __init__(self, num_tokens: int, layers: Sequence[int] | None = None, carry: bool = True) -> None:
        super().__init__()
        self._asked = check_listed(layers)
        self.num_tokens = check_whole('num_tokens', num_tokens)
        self.carry = carry

    def prompts(self, tokens: Tensor, at: At) -> Tensor:
        """The prompts of ``at.layer``, one of ``layers``: (P, D), or (B, P, D) if each sample has its own.

        Args:
            tokens: those that the layer is about to see (B, K+N, D), for prompts that depend on them.
            at: the layer, and what else is known of this forward.
        """
        raise NotImplementedError(f'{type(self).__name__} must define prompts(tokens, at)')

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        depth = geometry.depth
        self.layers = pick_layers(self._asked, geometry)
        self.prefix = geometry.prefix
        self._admits = self.embedded or 'words' in geometry.doors
        self._gap = self.num_tokens if 'words' in geometry.doors and 0 in self.layers else 0
        # Layers whose prompt outputs are used, by the next layer or by the readout.
        goes_on = [self.carry and layer + 1 not in self.layers for layer in range(depth)]
        goes_on[-1] = reads_prompts
        used = {layer for layer in range(self.layers[0], depth) if goes_on[layer]}
        self._by_memory = frozenset(self.layers) - used if 'memory' in geometry.doors else frozenset()
        inside = {layer for layer in self.layers if layer not in self._by_memory} | {
            layer + 1 for layer in used if layer + 1 < depth
        }
        self._leaving = inside - used
        self.prompts_at_end = self.carry or depth - 1 in self.layers

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'layers': list(self.layers)}

    @property
    def uses(self) -> frozenset[str]:
        by_memory = {'memory'} if self._by_memory else set()
        return frozenset(by_memory if self._by_memory == set(self.layers) else by_memory | self.doors)

    @property
    def adds_tokens(self) -> bool:
        return self._by_memory != set(self.layers)

    def memory(self, tokens: Tensor, at: At) -> Tensor | None:
        return self._entering(tokens, at) if at.layer in self._by_memory else None

    def _entering(self, tokens: Tensor, at: At) -> Tensor:
        """(P, D), or (B, P, D) if each sample has its own."""
        prompts = self.prompts(tokens, at)
        return prompts if at.admit is None or not self._admits else at.admit(prompts)

    @property
    def gap(self) -> int:
        return self._gap

    def before_layer(self, tokens: Tensor, at: At) -> Tensor:
        if at.layer not in self.layers or at.layer in self._by_memory:
            return tokens
        prompts = self._entering(tokens, at).expand(tokens.shape[0], -1, -1)
        return torch.cat([tokens[:, : self.prefix], prompts, tokens[:, self.prefix :]], dim=1)

    def after_layer(self, tokens: Tensor, at: At) -> Tensor:
        if at.layer not in self._leaving:
            return tokens
        return torch.cat([tokens[:, : self.prefix], tokens[:, self.prefix + self.num_tokens :]], dim=1)

    @property
    def needs_all_tokens(self) -> bool:
        kind = type(self)
        return kind.after_layer is not TokenPrompter.after_layer or kind.at_end is not Prompter.at_end
