"""The shapes of a network and where in it a prompter is asked: all that a prompter may know of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ['DOORS', 'Affine', 'At', 'EachMemory', 'Geometry', 'KeyValue', 'MixedMemory', 'Site', 'join_memories']

DOORS = ('image', 'words', 'tokens', 'memory', 'inside', 'logits')


class Site(NamedTuple):  # which a compiler can compare
    """A module inside a network whose output a prompter may change: (..., inputs) -> (..., outputs).

    Attributes:
        name: ``'embed'``, ``'norm1'``, ``'attn'``, ``'qkv'`` (queries, keys and values side by side) or ``'q'``,
            ``'k'``, ``'v'``, ``'proj'``, ``'norm2'``, ``'mlp'``, ``'fc1'``, ``'fc2'`` or ``'norm'``.
        layer: counted from 0; None for what stands before and after the layers.
        inputs: width of what goes in.
        outputs: width of what comes out.
    """

    name: str
    layer: int | None
    inputs: int
    outputs: int


class At(NamedTuple):
    """Where in a forward a prompter is asked.

    Attributes:
        layer: counted from 0; None for what stands before and after the layers.
        grid: (H', W'), the patches of the image as they are now; N = H' * W'. (0, 0) before there are any.
        entered: the tokens that went into this layer (B, M, D), prompts among them; None while they are still made,
            in ``before_layer`` and ``memory``.
        seen: what the prompter's ``look`` returned, once in a forward; None without one.
        note: what the caller gave the forward, such as a task for each sample (B,); None without one. A prompter of a
            text tower gets the embeddings of the images (B, d).
        admit: before the first layer, what the network does to embedded patches or words before it, for tokens
            that enter there (..., P, D) -> (..., P, D): the norm of CLIP's image towers, the positions of texts. None
            elsewhere.
        language: the learnt prompts of the text side, of each layer from the first on, (P, D) each; empty without.
        kept: what a prompter that acts inside keeps from one module of the layer to another one; a dict of this pass
            through this layer alone. None outside of the layers.
        recall: in ``between``, what the attention of the layer gathers from a memory alone, for tokens as they are:
            ``recall(tokens (B, M, D), memory (P, D) or (B, P, D)) -> (B, M, D)``. None elsewhere.
    """

    layer: int | None
    grid: tuple[int, int] = (0, 0)
    entered: Tensor | None = None
    seen: Any = None
    note: Any = None
    admit: Callable[[Tensor], Tensor] | None = None
    language: tuple[Tensor, ...] = ()
    kept: dict[str, Tensor] | None = None
    recall: Callable[[Tensor, Tensor], Tensor] | None = None


class Affine(NamedTuple):
    """The numbers of an affine map, or of a norm: what it gives is linear in them.

    Attributes:
        weight: (outputs, inputs), (outputs, channels, height, width) of a convolution, or (outputs,) of a norm.
        bias: (outputs,), or None.
    """

    weight: Tensor
    bias: Tensor | None


class KeyValue(NamedTuple):
    """Memory as the attention of a layer sees it; both (heads, P, head width) or (B, heads, P, head width).

    Raw, as a prompter may give them: no norm, no projection and no position is applied to them.

    Attributes:
        key, value: see above.
        hidden: (B, P), which of them are not there: what they hold is finite, and nothing attends to it. None where
            all are there.
    """

    key: Tensor
    value: Tensor
    hidden: Tensor | None = None


class MixedMemory(NamedTuple):
    """Memory of several prompters: tokens whose keys and values the layer makes, and keys and values.

    Attributes:
        tokens: (P, D) or (B, P, D).
        ready: of other prompts.
    """

    tokens: Tensor
    ready: KeyValue


class EachMemory(NamedTuple):
    """Another memory for each run of samples that follow one another in a batch.

    Attributes:
        parts: of each run (P, D), or keys and values (heads, P, d), or these of each of its samples, (n, P, D) or
            (n, heads, P, d); any P, and None for no memory.
        counts: the samples n of each run.
    """

    parts: tuple[Any, ...]
    counts: tuple[int, ...]


def join_memories(parts: Sequence[Tensor | KeyValue]) -> Any:
    """Memories of one kind as one; attention asks no order of keys.

    Args:
        parts: all of them (P, D) or (B, P, D), or all of them keys and values.

    Returns:
        The same kind; of all samples (B, ...) if any part is.
    """
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], KeyValue):
        return KeyValue(*(join_memories([part[i] for part in parts]) for i in (0, 1)))  # type: ignore[misc]
    batch = torch.broadcast_shapes(*(part.shape[:-2] for part in parts))
    return torch.cat([part.expand(*batch, *part.shape[-2:]) for part in parts], dim=-2)


@dataclass(frozen=True)
class Geometry:
    """Facts read off a network, never configured twice.

    Attributes:
        name: the network's name, written into prompt files, e.g. ``vit_base_patch16_224.orig_in21k``.
        widths: D of each layer; its length is the depth L. None where prompts can reach no layer, as in a ConvNet.
        patch: height and width of a patch, in pixels, which have to divide an image; 1 x 1 where any size goes.
        image: height and width of the image the network was built for, in pixels.
        prefix: K, the number of tokens before the patches (class, distillation and register tokens).
        tokens: K + N of an image of that size, before the first layer; the cells of its last map, for a ConvNet.
        mean, std: the pixel normalisation the network was trained with, per channel, of pixels in [0, 1].
        doors: those of ``DOORS`` through which a prompter can reach the network.
        channels: of an image that the network takes.
        any_size: whether it takes images of other sizes than ``image``.
        stem: (D, height, width) of the kernels of the convolution that sees the image; None where that one can take
            no more channels than the image's own.
        lengths: K + N before each layer, of a network that merges patches on its way; empty where it is the same.
        classes: K, of the network's own classifier, what the door ``logits`` gives; 0 where it was built without one.
        sites: the modules of the door ``inside``, in the order in which an image passes them.
        heads: number of heads of each layer's attention, where the door ``memory`` is open.
        head_widths: of each layer, where they are not D / heads; see ``head_width``.
        word_vectors: of a text tower, what makes the vectors (T, D) of the T tokens of a phrase; None elsewhere. Its
            ``tokens`` are those of its context, its ``classes`` the number of class names, and what concerns pixels
            is neutral.
        joint: of a text tower, d, the width of the space that it shares with the images; 0 elsewhere.
        language: (P, D) of each of the text side's prompts (``At.language``), for a prompter that is made of them.
        windowed: whether attention sees windows of the map in some layer.
    """

    name: str
    widths: tuple[int, ...]
    patch: tuple[int, int]
    image: tuple[int, int]
    prefix: int
    tokens: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    doors: frozenset[str]
    any_size: bool = True
    channels: int = 3
    stem: tuple[int, int, int] | None = None
    lengths: tuple[int, ...] = ()
    sites: tuple[Site, ...] = ()
    classes: int = 0
    heads: tuple[int, ...] = ()
    head_widths: tuple[int, ...] = ()
    word_vectors: Callable[[str], Tensor] | None = field(default=None, compare=False, repr=False)
    joint: int = 0
    language: tuple[tuple[int, int], ...] = ()
    windowed: bool = False

    def head_width(self, layer: int) -> int:
        """d, of a key and of a value in ``layer``."""
        return self.head_widths[layer] if self.head_widths else self.widths[layer] // self.heads[layer]

    @property
    def depth(self) -> int:
        """L, the number of layers."""
        return len(self.widths)

    def length(self, layer: int) -> int:
        """K + N before ``layer``, of an image of that size."""
        return self.lengths[layer] if self.lengths else self.tokens

    def grid(self, layer: int) -> tuple[int, int]:
        """(H', W') of the patches before ``layer``, of an image of that size."""
        patches = self.length(layer) - self.prefix
        first = [(side // patch, -(-side // patch)) for side, patch in zip(self.image, self.patch, strict=True)]
        whole, padded = zip(*first, strict=True)
        rows, columns = whole if prod(whole) == self.length(0) - self.prefix else padded
        while rows * columns > patches:  # merged two by two
            rows, columns = -(-rows // 2), -(-columns // 2)
        return rows, columns

    def resized(self, image: tuple[int, int]) -> 'Geometry':
        """The geometry of the same network for images of another size, which its patches divide."""
        before, grid = (
            tuple(side // patch for side, patch in zip(size, self.patch, strict=True)) for size in (self.image, image)
        )
        after, lengths = grid, []
        for length in self.lengths:
            while prod(before) > length - self.prefix:  # patches have been merged two by two
                before, after = (tuple(-(-side // 2) for side in grid) for grid in (before, after))
            lengths.append(self.prefix + prod(after))
        tokens = self.prefix + prod(grid) if self.widths else self.tokens
        return replace(self, image=image, tokens=tokens, lengths=tuple(lengths))
