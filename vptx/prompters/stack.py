"""Several prompters as one, such as pixels on the image and tokens in the layers.

prompter=[dict(type='BorderPrompter'), dict(type='DeepPrompter', num_tokens=10)]
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from vptx.binding import bind
from vptx.geometry import Affine, At, Geometry, KeyValue, MixedMemory, Site, join_memories
from vptx.prompters.base import Prompter
from vptx.registry import PROMPTERS, build


class StackedPrompter(Prompter):
    """Prompters one after the other: each sees what the ones before it made of image and tokens.

    Args:
        prompters: or their configs. One of them may add tokens: prompts that stand at one place could not be
            distinguished. Memories of several become one, as attention asks no order of keys.

    Raises:
        ValueError: none; when bound, two that add tokens, or one on an image that has more channels by then.
    """

    def __init__(self, prompters: Sequence[Prompter | dict]) -> None:
        super().__init__()
        built = [build(PROMPTERS, prompter) for prompter in prompters]
        if not built:
            raise ValueError('StackedPrompter takes one prompter or more, not none')
        self.prompters = nn.ModuleList(built)
        self.doors = frozenset().union(*(prompter.doors for prompter in built))
        self.takes_note = any(prompter.takes_note for prompter in built)
        self.asks_query = any(prompter.asks_query for prompter in built)
        self.depends_on_image = any(prompter.depends_on_image for prompter in built)
        self.reads_language = any(prompter.reads_language for prompter in built)

    @property
    def settings(self) -> dict[str, Any]:
        built: Any = self.prompters
        parts = [dict(type=type(prompter).__name__, **prompter.settings) for prompter in built]
        return {f'{index}.{name}': value for index, part in enumerate(parts) for name, value in part.items()}

    @property
    def uses(self) -> frozenset[str]:
        return frozenset(door for prompter in self.prompters for door in prompter.uses)

    @property
    def _speaking(self) -> Any:
        """The prompter with words of its own, or else the first one."""
        return next((prompter for prompter in self.prompters if prompter.phrase is not None), self.prompters[0])

    phrase = property(lambda self: self._speaking.phrase)
    name_at = property(lambda self: self._speaking.name_at)
    slots = property(lambda self: self._speaking.slots)
    per_class = property(lambda self: any(prompter.per_class for prompter in self.prompters))
    gap = property(lambda self: sum(prompter.gap for prompter in self.prompters))
    shares_prefix = property(lambda self: all(prompter.shares_prefix for prompter in self.prompters))

    def words(self, at: At) -> Tensor | None:
        return self._speaking.words(at)

    def language(self) -> tuple[Tensor, ...]:
        return self._speaking.language()

    @property
    def looks(self) -> bool:
        return any(prompter.looks for prompter in self.prompters)

    @property
    def acts_between(self) -> bool:
        return any(prompter.acts_between for prompter in self.prompters)

    @property
    def adds_loss(self) -> bool:
        return any(prompter.adds_loss for prompter in self.prompters)

    @property
    def adds_tokens(self) -> bool:
        return any(prompter.adds_tokens for prompter in self.prompters)

    @property
    def needs_all_tokens(self) -> bool:
        return any(prompter.needs_all_tokens for prompter in self.prompters)

    @property
    def needs_image_at_end(self) -> bool:
        return any(prompter.needs_image_at_end for prompter in self.prompters)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self._prefix = geometry.prefix
        # An image has gone through all that is on it before there are tokens.
        whole, seen = geometry, []
        for prompter in self.prompters:
            seen.append(whole)
            whole = prompter.geometry_after(whole)
        for prompter, at in zip(self.prompters, seen, strict=True):
            bind(prompter, at if 'image' in prompter.doors else whole, reads_prompts)
        speaking = [type(prompter).__name__ for prompter in self.prompters if prompter.phrase is not None]
        if len(speaking) > 1:
            raise ValueError(f'of the prompters of a stack one may have words of its own, not {" and ".join(speaking)}')
        adding = [type(prompter).__name__ for prompter in self.prompters if prompter.adds_tokens]
        if len(adding) > 1:
            raise ValueError(
                f'of the prompters of a stack one may add tokens, not {" and ".join(adding)}, with {geometry.name} and '
                'this readout. Deep prompts of all layers add none where their outputs are not read, in networks with '
                'the door memory'
            )
        self.prompts_at_end = any(prompter.prompts_at_end for prompter in self.prompters)
        self.sites = tuple(dict.fromkeys(site for prompter in self.prompters for site in prompter.sites))
        widened = [prompter.stem() is not None for prompter in self.prompters]
        later = [prompter for prompter, wide in zip(self.prompters, widened) if 'image' in prompter.doors and not wide]
        if sum(widened) > 1 or (any(widened) and later and list(self.prompters).index(later[-1]) > widened.index(True)):
            raise ValueError('a prompter that adds channels to the image is the last one of a stack that is on it')

    def geometry_after(self, geometry: Geometry) -> Geometry:
        for prompter in self.prompters:
            geometry = prompter.geometry_after(geometry)
        return geometry

    def frozen_tensors(self) -> Iterable[tuple[str, Tensor]]:
        return chain.from_iterable(prompter.frozen_tensors() for prompter in self.prompters)

    def image(self, image: Tensor) -> Tensor:
        for prompter in self.prompters:
            image = prompter.image(image)
        return image

    def stem(self) -> Tensor | None:
        return next((stem for prompter in self.prompters if (stem := prompter.stem()) is not None), None)

    def pixels(self) -> Tensor | None:
        return next((strip for prompter in self.prompters if (strip := prompter.pixels()) is not None), None)

    def look(self, image: Tensor, tokens: Tensor, query: Tensor | None = None) -> tuple:
        """What each of them sees, or None of those that do not look."""
        seen = []
        for prompter in self.prompters:
            more = (query,) if prompter.asks_query else ()
            seen.append(prompter.look(image, tokens, *more) if prompter.looks else None)
        return tuple(seen)

    def begin_task(self, task: int) -> None:
        for prompter in self.prompters:
            prompter.begin_task(task)

    def merge(self, weights: MutableMapping[Site, Affine]) -> Prompter | None:
        """Those that can be; the others are left."""
        left, reasons = list[Prompter](), list[str]()
        for prompter in self.prompters:
            try:
                rest = prompter.merge(weights)
            except ValueError as error:
                reasons.append(str(error))
                rest = prompter
            left += [] if rest is None else [rest]
        if len(reasons) == len(self.prompters):
            raise ValueError('; '.join(reasons))
        if not left:
            return None
        rest = StackedPrompter(left)
        bind(rest, *(self.bound_to or ()))
        return rest

    def _asked(self, at: At) -> Iterator[tuple[Any, At]]:
        """Each prompter, and ``at`` with what that one has seen."""
        seen = at.seen or [None] * len(self.prompters)
        return ((prompter, at._replace(seen=mine)) for prompter, mine in zip(self.prompters, seen, strict=True))

    def memory(self, tokens: Tensor, at: At) -> Tensor | KeyValue | MixedMemory | None:
        raw, ready = list[Tensor | KeyValue](), list[Tensor | KeyValue]()
        for prompter, mine in self._asked(at):
            memory = prompter.memory(tokens, mine)
            if isinstance(memory, MixedMemory):
                raw.append(memory.tokens)
                ready.append(memory.ready)
            elif memory is not None:
                (ready if isinstance(memory, KeyValue) else raw).append(memory)
        if raw and ready:
            return MixedMemory(join_memories(raw), join_memories(ready))
        return join_memories(raw or ready) if raw or ready else None

    def before_layer(self, tokens: Tensor, at: At) -> Tensor:
        for prompter, mine in self._asked(at):
            tokens = prompter.before_layer(tokens, mine)
        return tokens

    def between(self, tokens: Tensor, at: At) -> Tensor:
        for prompter, mine in self._asked(at):
            tokens = prompter.between(tokens, mine)
        return tokens

    def inside(self, site: Site, input: Tensor, output: Tensor, at: At) -> Tensor:
        for prompter, mine in self._asked(at):
            if site in prompter.sites:
                output = prompter.inside(site, input, output, mine)
        return output

    def after_layer(self, tokens: Tensor, at: At) -> Tensor:
        entered = at.entered
        for prompter, mine in reversed(list(self._asked(at))):
            before = tokens.shape[1]
            tokens = prompter.after_layer(tokens, mine._replace(entered=entered))
            taken = before - tokens.shape[1]
            if taken and entered is not None:  # prompts, which those before this one have not seen
                start = self._prefix
                entered = torch.cat([entered[:, :start], entered[:, start + taken :]], dim=1)
        return tokens

    def at_end(self, tokens: Tensor, image: Tensor) -> Tensor:
        for prompter in self.prompters:
            tokens = prompter.at_end(tokens, image)
        return tokens

    def loss(self) -> Mapping[str, Tensor]:
        """Terms by the number of their prompter in the stack and their name."""
        return {f'{i}.{name}': t for i, prompter in enumerate(self.prompters) for name, t in prompter.loss().items()}

    def plain(self) -> Prompter | None:
        """Of one prompter; several have none."""
        return self.prompters[0].plain() if len(self.prompters) == 1 else None
