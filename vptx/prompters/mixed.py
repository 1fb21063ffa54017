"""Another prompter for each sample of a batch: the note of a forward says which.

    network(images, note=[flowers, cars, flowers, None])

What is frozen runs once on the whole batch. Deep prompts meet in one attention, whatever their number: each sample sees
the keys and values of its own. What else a prompter does, it does to the rows of its samples.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from vptx.geometry import At, EachMemory, Geometry, Site
from vptx.prompters.base import Prompter

__all__ = ['MixedPrompter', 'check_mixed']


def check_mixed(prompter: Prompter) -> None:
    """Refuse a prompter that cannot be one of several in a batch.

    Raises:
        ValueError: says why.
    """
    name, why = type(prompter).__name__, ''
    if prompter.takes_note:
        why = 'reads a note of its own'
    elif prompter.stem() is not None:
        why = 'changes the kernels that see the image, which are those of the whole batch'
    elif prompter.pixels() is not None:
        why = 'puts pixels before the patch embedding, which are those of the whole batch'
    elif prompter.looks or prompter.needs_image_at_end:
        why = 'looks at the images next to the network'
    elif prompter.phrase is not None:
        why = 'acts in a text tower'
    if why:
        raise ValueError(f'{name} {why}: it cannot be one of several prompters in a batch')


class MixedPrompter(Prompter):
    """Does to each sample what the prompter does that the note names for it; nothing where that is None.

    The note is a sequence of prompters, one for each sample, all bound to the network of this one. Neighbours of one
    prompter go together, so that a sorted note is the fastest. The prompters are no part of this one: it learns nothing
    and is in no file.

    Args:
        inside: whether prompters act inside layers. These are then called, and all samples of a batch have as many
            prompts.
        between: whether they act between attention and MLP.
        whole: whether they need all tokens after the last layer.
        at_end: whether prompt tokens are there after the last layer.
    """

    doors = frozenset({'image'})
    takes_note = True
    prompts_at_end = False

    def __init__(self, inside: bool = False, between: bool = False, whole: bool = False, at_end: bool = False) -> None:
        super().__init__()
        self._inside, self._between, self._whole = inside, between, whole
        self.prompts_at_end = at_end

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.doors = geometry.doors & {'image', 'tokens', 'memory', *(['inside'] if self._inside else [])}
        self.sites = geometry.sites if self._inside else ()

    @property
    def adds_tokens(self) -> bool:
        return True

    @property
    def acts_between(self) -> bool:
        return self._between

    @property
    def needs_all_tokens(self) -> bool:
        return self._whole

    def image_at(self, image: Tensor, at: At) -> Tensor:
        return self._each('image', at, lambda prompter, mine, rows: prompter.image(rows), image)

    def memory(self, tokens: Tensor, at: At) -> EachMemory | None:
        parts, counts, start = [], [], 0
        for prompter, count in _runs(at, tokens):
            rows, mine = _mine(at, start, count)
            found = prompter.memory(tokens[rows], mine) if prompter is not None else None
            parts.append(found)
            counts.append(count)
            start += count
        return EachMemory(tuple(parts), tuple(counts)) if any(part is not None for part in parts) else None

    def before_layer(self, tokens: Tensor, at: At) -> Tensor:
        return self._each('tokens', at, lambda prompter, mine, rows: prompter.before_layer(rows, mine), tokens)

    def after_layer(self, tokens: Tensor, at: At) -> Tensor:
        return self._each('tokens', at, lambda prompter, mine, rows: prompter.after_layer(rows, mine), tokens)

    def between(self, tokens: Tensor, at: At) -> Tensor:
        def call(prompter: Prompter, mine: At, rows: Tensor) -> Tensor:
            return prompter.between(rows, mine) if prompter.acts_between else rows

        return self._each('memory', at, call, tokens, every=True)

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        def call(prompter: Prompter, mine: At, given: Tensor, made: Tensor) -> Tensor:
            return prompter.inside(site, given, made, mine) if site in prompter.sites else made

        return self._each('inside', at, call, input, output)

    def _each(self, door: str, at: At, call: Callable[..., Tensor], *tensors: Tensor, every: bool = False) -> Tensor:
        """What prompters with this door make of the rows of their samples, which are one or more of a tensor; of the
        last tensor where none acts."""
        runs = list(_runs(at, tensors[-1]))
        if not any(prompter is not None and (every or door in prompter.uses) for prompter, _ in runs):
            return tensors[-1]
        number = sum(count for _, count in runs)
        made, start = list[Tensor](), 0
        for prompter, count in runs:
            rows, mine = _mine(at, start, count)
            # Windows of an image are several rows that follow one another.
            parts = [t.unflatten(0, (number, -1))[rows].flatten(0, 1) if len(t) != number else t[rows] for t in tensors]
            acts = prompter is not None and (every or door in prompter.uses)
            made.append(call(prompter, mine, *parts) if acts else parts[-1])
            start += count
        return made[0] if len(made) == 1 else torch.cat(made)


def _runs(at: At, tensor: Tensor) -> Iterator[tuple[Any, int]]:
    """The prompters of the note, and how many samples that follow one another each has."""
    note: Sequence[Prompter | None] | None = at.note
    if note is None:
        raise ValueError('MixedPrompter needs a note: network(images, note=[...]), a prompter or None for each image')
    if len(tensor) % len(note):
        raise ValueError(f'the note of a mixed batch names {len(note)} prompters for {len(tensor)} images')
    for _, run in groupby(note, key=id):
        found = list(run)
        yield found[0], len(found)


def _mine(at: At, start: int, count: int) -> tuple[slice, At]:
    """The rows of a run, and ``at`` as their prompter sees it."""
    rows = slice(start, start + count)
    entered = None if at.entered is None else at.entered[rows]
    return rows, at._replace(entered=entered, note=None)
