"""A target class is a source class, or the average of a few of them: y_t = mean of x_s over the sources s of t.

Elsayed et al., "Adversarial Reprogramming of Neural Networks", ICLR 2019, https://arxiv.org/abs/1806.11146, and Bahng
et al., "Exploring Visual Prompts for Adapting Large-Scale Models", 2022, https://arxiv.org/abs/2203.17274, take the
first C classes; a random choice is the baseline of Chen et al., CVPR 2023, https://arxiv.org/abs/2211.11635.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vptx.mappings.base import LabelMapping, check_classes
from vptx.registry import MAPPINGS

__all__ = ['IndexMapping', 'RandomMapping', 'average', 'check_sources', 'indicator']


def average(logits: Tensor, sources: Tensor) -> Tensor:
    """Logits (B, K) and sources (C, m) -> (B, C)."""
    # The average of one is that one, to the bit.
    return logits[:, sources[:, 0]] if sources.shape[1] == 1 else logits[:, sources].mean(-1)


def indicator(sources: Tensor, number: int) -> Tensor:
    """Sources (C, m) -> the matrix (K, C) of the mapping, K the ``number`` of sources."""
    empty = torch.zeros(len(sources), number, device=sources.device)
    return empty.scatter_add_(1, sources, torch.full(sources.shape, 1 / sources.shape[1], device=sources.device)).T


def check_sources(number: int, sources: Tensor, name: str) -> None:
    """Refuse fewer source classes than ``sources`` (C, m) has space for, each being used once.

    Raises:
        ValueError: says how many there are.
    """
    if number < sources.numel():
        raise ValueError(
            f'{name} gives each of {len(sources)} classes {sources.shape[1]} source class(es) of its own, but '
            f'the network has {number} alone: use BayesianMapping or FullyConnectedMapping, which share them'
        )


@MAPPINGS.register_module()
class IndexMapping(LabelMapping):
    """The first C source classes, or those that are named.

    Source: Elsayed et al., ICLR 2019, https://arxiv.org/abs/1806.11146; Bahng et al., 2022,
    https://arxiv.org/abs/2203.17274.

    Args:
        num_classes: C.
        sources: of each target class, the index of a source class, or a list of them, all of one length.

    Raises:
        ValueError: not C entries, or of unequal lengths; when bound, an index that is not there.
    """

    def __init__(self, num_classes: int, sources: Sequence[int | Sequence[int]] | None = None) -> None:
        super().__init__()
        self.num_classes = check_classes(num_classes)
        lists = [[s] if isinstance(s, int) else list(s) for s in (range(num_classes) if sources is None else sources)]
        if len(lists) != num_classes or len({len(several) for several in lists}) > 1 or not lists[0]:
            raise ValueError(
                f'sources must be {num_classes} indices, or {num_classes} lists of them of one length; not {sources!r}'
            )
        self._named = {source for several in lists for source in several}
        self.register_buffer('sources', torch.tensor(lists))

    def bind(self, sources: int) -> None:
        if min(self._named) < 0 or max(self._named) >= sources:
            raise ValueError(
                f'{type(self).__name__} names source classes from {min(self._named)} to {max(self._named)}, but '
                f'the network has those from 0 to {sources - 1}'
            )
        self._number = sources

    def forward(self, logits: Tensor) -> Tensor:
        return average(logits, self.sources)

    def matrix(self) -> Tensor:
        return indicator(self.sources, self._number)


@MAPPINGS.register_module()
class RandomMapping(IndexMapping):
    """C source classes drawn at random, each of them once, when the network is known; saved with the prompt.

    Source: Chen et al. (ILM-VP), CVPR 2023, https://arxiv.org/abs/2211.11635.

    Args:
        num_classes: C.
        per_class: m, how many of them a target class is the average of.

    Raises:
        ValueError: when bound, fewer than C * m source classes.
    """

    def __init__(self, num_classes: int, per_class: int = 1) -> None:
        super().__init__(num_classes, [[0] * per_class] * check_classes(num_classes))

    def bind(self, sources: int) -> None:
        check_sources(sources, self.sources, type(self).__name__)
        self.sources.copy_(torch.randperm(sources)[: self.sources.numel()].view_as(self.sources))
        super().bind(sources)
