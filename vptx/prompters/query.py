"""Prompts that are chosen for each image by what the frozen network makes of it."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import Geometry
from vptx.prompters.base import Prompter
from vptx.prompters.encoder import encode, frozen_net

__all__ = ['QueryPrompter']


class QueryPrompter(Prompter):
    """Looks keys up by a query q(x), the feature of the frozen network without prompts: one more forward pass.

    Args:
        encoder: config of another net that makes the queries, with its weights; it has a class token, and the width of
            the network. No prompt file holds it. None: the network itself.
        *arguments, **options: of another base class of the prompter.

    Raises:
        ValueError: when bound, an encoder of another width, or without a class token.
    """

    encoder: Any
    asks_query = True

    def __init__(self, *arguments: Any, encoder: dict | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._encoder = encoder
        self.asks_query = encoder is None
        self.task: int | None = None
        self._kept: tuple[Tensor, Tensor] | None = None

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        if 'words' in geometry.doors:
            raise ValueError(f'{type(self).__name__} chooses prompts by an image, and {geometry.name} reads texts')
        self.encoder = None
        if self._encoder is not None:
            self.encoder = frozen_net(self._encoder, type(self).__name__)
            widths = self.encoder.geometry.widths[-1], geometry.widths[-1]
            if widths[0] != widths[1]:
                raise ValueError(
                    f'the encoder of {type(self).__name__}, {self.encoder.geometry.name}, makes queries of {widths[0]} '
                    f'numbers, and keys have the {widths[1]} of {geometry.name}: take an encoder of that width'
                )
        super().bind(geometry, reads_prompts)

    def frozen_tensors(self) -> Iterable[tuple[str, Tensor]]:
        return () if self.encoder is None else self.encoder.named_buffers()

    def query(self, image: Tensor, query: Tensor | None) -> Tensor:
        """(B, D), without a gradient."""
        if query is None:
            with torch.no_grad():
                query = self.encoder.finish(encode(self.encoder.eval(), image))[:, 0]
        return query.detach()

    def keep(self, query: Tensor, index: Tensor) -> None:
        """What ``pull`` reads, of a batch that trains."""
        self._kept = (query, index) if self.training else None

    def pull(self, keys: nn.Parameter) -> Mapping[str, Tensor]:
        """The average over the batch of 1 - cos(q, k), over the keys that were chosen (B, k)."""
        if self._kept is None:
            return {}
        query, index = self._kept
        return {'pull': 1 - F.cosine_similarity(query[:, None], keys[index], dim=-1).mean()}

    def begin_task(self, task: int) -> None:
        self.task = task
