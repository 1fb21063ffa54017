"""A task of a bank: what a prompt file holds, ready to be used on a network that others use, too."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vptx.geometry import At, Geometry, KeyValue, Site
from vptx.prompted import PromptedNetwork
from vptx.prompters import Prompter
from vptx.serve.segments import Decoder

__all__ = ['Head', 'Kind', 'ReadyPrompter', 'Task', 'kind_of']


class Kind(NamedTuple):
    """What samples of one forward have in common, besides the frozen network.

    Attributes:
        inside: whether modules inside layers are changed; these layers are called.
        between: whether something acts between attention and MLP.
        whole: whether all tokens after the last layer are needed.
        size: of the image that the network sees.
        tokens: how many prompts are among the tokens of each layer, and after it.
        memory: how many prompts each layer that is called attends to; empty where attention sees any number.
    """

    inside: bool
    between: bool
    whole: bool
    size: tuple[int, int]
    tokens: tuple[tuple[int, int], ...]
    memory: tuple[int, ...] = ()


@dataclass(frozen=True)
class Head:
    """From features (B, D) to logits (B, C).

    Attributes:
        weight: (C, D).
        bias: (C).
        unit: whether what the network's own classifier makes of the features, such as an embedding of CLIP, is made
            one of length 1 beforehand.
        after: (C), added then; None for nothing.
    """

    weight: Tensor
    bias: Tensor
    unit: bool = False
    after: Tensor | None = None

    @property
    def classes(self) -> int:
        """C."""
        return len(self.weight)


@dataclass(frozen=True, eq=False)
class Task:
    """A version of a task: prompts and head of one file, which are never mixed with another's.

    Attributes:
        name: of the task.
        version: of its file's content, the first 16 digits of SHA-256.
        kind: what it shares a forward with.
        prompter: bound to the network of the bank; None without prompts.
        head: from features to logits; of a segmentor, from feature maps.
        classes: their names; numbers, where the file has none.
        facts: of the file.
        bytes: that its tensors take.
    """

    name: str
    version: str
    kind: Kind
    prompter: Prompter | None
    head: Head | Decoder
    classes: tuple[str, ...]
    facts: Mapping[str, Any]
    bytes: int


class ReadyPrompter(Prompter):
    """A prompter whose keys and values are known, and the learnt prompts of a text side that it is made of.

    Args:
        prompter: bound.
        ready: keys and values by layer; empty where they are made in each forward.
        language: ``at.language``.
    """

    def __init__(self, prompter: Prompter, ready: Mapping[int, KeyValue], language: tuple[Tensor, ...]) -> None:
        super().__init__()
        # Of prompts that are keys and values alone nothing else is kept.
        self.rest = None if ready and prompter.uses == {'memory'} and not prompter.acts_between else prompter
        self.ready, self.language_prompts = dict(ready), language
        self._uses, self.sites = prompter.uses, prompter.sites

    @property
    def uses(self) -> frozenset[str]:
        return self._uses

    @property
    def acts_between(self) -> bool:
        return self.rest is not None and self.rest.acts_between

    def image(self, image: Tensor) -> Tensor:
        return image if self.rest is None else self.rest.image(image)

    def memory(self, tokens: Tensor, at: At) -> Any:
        if at.layer in self.ready:
            return self.ready[at.layer]
        return None if self.rest is None else self.rest.memory(tokens, self._informed(at))

    def before_layer(self, tokens: Tensor, at: At) -> Tensor:
        return tokens if self.rest is None else self.rest.before_layer(tokens, self._informed(at))

    def between(self, tokens: Tensor, at: At) -> Tensor:
        return tokens if self.rest is None else self.rest.between(tokens, self._informed(at))

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        return output if self.rest is None else self.rest.inside(site, input, output, self._informed(at))

    def after_layer(self, tokens: Tensor, at: At) -> Tensor:
        return tokens if self.rest is None else self.rest.after_layer(tokens, self._informed(at))

    def _informed(self, at: At) -> At:
        return at._replace(language=self.language_prompts)


@torch.no_grad()
def kind_of(network: PromptedNetwork) -> Kind:
    """What a task shares a forward with, by asking its prompter, on black tokens, what it does to their number."""
    prompter, facts = network.prompter, network.net.geometry
    geometry: Geometry = prompter.geometry_after(facts)
    grid = tuple(side // patch for side, patch in zip(geometry.image, geometry.patch, strict=True))
    probe = next(network.parameters())
    counts, memory, extra = list[tuple[int, int]](), list[int](), 0
    for layer, width in enumerate(geometry.widths):
        own = geometry.length(layer)
        if geometry.lengths:
            grid = _fitting(own - geometry.prefix, grid)
        at = network._at(layer, (grid[0], grid[1]))
        found: Any = prompter.memory(probe.new_zeros(1, own + extra, width), at)
        memory.append(0 if found is None else _length(found))
        entered = prompter.before_layer(probe.new_zeros(1, own + extra, width), at)
        left = prompter.after_layer(entered, at._replace(entered=entered))
        counts.append((entered.shape[1] - own, left.shape[1] - own))
        extra = left.shape[1] - own
    inside = bool(prompter.sites)
    called = inside or not all(network.net.is_spelt(layer) for layer in range(geometry.depth))
    whole = prompter.needs_all_tokens and (inside or 'tokens' in prompter.uses)
    return Kind(inside, prompter.acts_between, whole, geometry.image, tuple(counts), tuple(memory) if called else ())


def _fitting(patches: int, grid: tuple[int, ...]) -> tuple[int, ...]:
    """The grid after so many mergings that it has this number of patches."""
    while prod(grid) > patches:
        grid = tuple(-(-side // 2) for side in grid)
    return grid


def _length(memory: Any) -> int:
    parts = memory if isinstance(memory, tuple) and not isinstance(memory, KeyValue) else (memory,)
    return sum((part.key if isinstance(part, KeyValue) else part).shape[-2] for part in parts)


def bytes_of(parts: list[nn.Module | Tensor | None]) -> int:
    """That tensors and modules take, each storage once."""
    found: dict[int, int] = {}
    for part in parts:
        tensors: Any = [] if part is None else [part] if isinstance(part, Tensor) else part.state_dict().values()
        if isinstance(part, ReadyPrompter):
            tensors = [*tensors, *(tensor for ready in part.ready.values() for tensor in ready[:2])]
        for tensor in tensors:
            found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(found.values())
