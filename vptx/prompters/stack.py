"""Several prompters as one, such as pixels on the image and tokens in the layers.

prompter=[dict(type='BorderPrompter'), dict(type='DeepPrompter', num_tokens=10)]
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from torch import Tensor, nn

from vptx.binding import bind
from vptx.geometry import Geometry, Site
from vptx.prompters.base import AMONG_TOKENS, Prompter
from vptx.registry import PROMPTERS, build


class StackedPrompter(Prompter):
    """Prompters one after the other: each sees what the ones before it made of image and tokens.

    Args:
        prompters: or their configs. One of them may reach the tokens (doors 2 and 3): prompts that stand at one place
            could not be told apart.

    Raises:
        ValueError: none, or two that reach the tokens; when bound, one on an image that has more channels by then.
    """

    def __init__(self, prompters: Sequence[Prompter | dict]) -> None:
        super().__init__()
        built = [build(PROMPTERS, prompter) for prompter in prompters]
        among = [type(prompter).__name__ for prompter in built if prompter.doors & AMONG_TOKENS]
        if not built or len(among) > 1:
            raise ValueError(
                'StackedPrompter takes one prompter or more, and of those that reach the tokens one at most, not '
                f'{" and ".join(among) or "none"}'
            )
        self.prompters = nn.ModuleList(built)
        self.doors = frozenset().union(*(prompter.doors for prompter in built))

    @property
    def settings(self) -> dict[str, Any]:
        built: Any = self.prompters
        parts = [dict(type=type(prompter).__name__, **prompter.settings) for prompter in built]
        return {f'{index}.{name}': value for index, part in enumerate(parts) for name, value in part.items()}

    @property
    def uses(self) -> frozenset[str]:
        return frozenset(door for prompter in self.prompters for door in prompter.uses)

    @property
    def sees_the_end(self) -> bool:
        return any(prompter.sees_the_end for prompter in self.prompters)

    @property
    def sees_the_image(self) -> bool:
        return any(prompter.sees_the_image for prompter in self.prompters)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        # An image has gone through all that is on it before there are tokens.
        whole, seen = geometry, []
        for prompter in self.prompters:
            seen.append(whole)
            whole = prompter.geometry_after(whole)
        for prompter, at in zip(self.prompters, seen, strict=True):
            bind(prompter, at if 'image' in prompter.doors else whole, reads_prompts)
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

    def brought(self) -> Iterable[tuple[str, Tensor]]:
        return chain.from_iterable(prompter.brought() for prompter in self.prompters)

    def image(self, image: Tensor) -> Tensor:
        for prompter in self.prompters:
            image = prompter.image(image)
        return image

    def stem(self) -> Tensor | None:
        return next((stem for prompter in self.prompters if (stem := prompter.stem()) is not None), None)

    def pixels(self) -> Tensor | None:
        return next((strip for prompter in self.prompters if (strip := prompter.pixels()) is not None), None)

    def memory(self, tokens: Tensor, layer: int) -> Tensor | None:
        found = (prompter.memory(tokens, layer) for prompter in self.prompters)
        return next((memory for memory in found if memory is not None), None)

    def enter(self, tokens: Tensor, layer: int) -> Tensor:
        for prompter in self.prompters:
            tokens = prompter.enter(tokens, layer)
        return tokens

    def inside(self, site: Site, input: Tensor, output: Tensor) -> Tensor:
        for prompter in self.prompters:
            if site in prompter.sites:
                output = prompter.inside(site, input, output)
        return output

    def leave(self, tokens: Tensor, layer: int) -> Tensor:
        for prompter in reversed(self.prompters):
            tokens = prompter.leave(tokens, layer)
        return tokens

    def beside(self, tokens: Tensor, image: Tensor) -> Tensor:
        for prompter in self.prompters:
            tokens = prompter.beside(tokens, image)
        return tokens
