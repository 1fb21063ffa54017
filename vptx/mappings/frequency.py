"""A target class is the source class that its images are most often taken for.

Chen et al., "Understanding and Improving Visual Prompting: A Label-Mapping Perspective" (ILM-VP), CVPR 2023,
https://arxiv.org/abs/2211.11635; once, as Tsai et al., ICML 2020, https://arxiv.org/abs/2007.08714, or again as prompts
are learnt. With A (K, C), how often an image of class t is taken for an s, sources are given to targets one to one:

* greedily, as published: the largest A[s, t] first; of equals the lowest s, then the lowest t;
* so that the sum of all A[s, t] is the largest there can be, by the Hungarian method.
"""

import numpy as np
import torch
from torch import Tensor

from vptx.mappings.base import CountedMapping
from vptx.mappings.index import average, check_sources, indicator
from vptx.registry import MAPPINGS

__all__ = ['ASSIGNMENTS', 'FrequencyMapping', 'IterativeMapping']


def greedy(counts: np.ndarray, per_class: int) -> np.ndarray:
    """A (K, C) -> sources (C, m), the largest count first."""
    sources = np.full((counts.shape[1], per_class), -1)
    filled, free = np.zeros(counts.shape[1], int), np.ones(counts.shape[0], bool)
    # Sorted once, gone through once: what is taken away does not change the order of what is left.
    for cell in np.argsort(-counts, axis=None, kind='stable'):
        source, target = divmod(int(cell), counts.shape[1])
        if free[source] and filled[target] < per_class:
            sources[target, filled[target]] = source
            free[source] = False
            filled[target] += 1
            if filled.sum() == sources.size:
                break
    return sources


def hungarian(counts: np.ndarray, per_class: int) -> np.ndarray:
    """A (K, C) -> sources (C, m), with the largest sum of counts."""
    from scipy.optimize import linear_sum_assignment  # whose import takes longer than that of most of vptx

    rows, columns = linear_sum_assignment(np.repeat(counts, per_class, axis=1), maximize=True)
    return rows[np.argsort(columns)].reshape(-1, per_class)


ASSIGNMENTS = dict(greedy=greedy, hungarian=hungarian)


@MAPPINGS.register_module()
class FrequencyMapping(CountedMapping):
    """Each target class is the m source classes that its images are most often taken for: estimated once, with the
    prompts as they begin (FLM).

    Source: Tsai et al., ICML 2020, https://arxiv.org/abs/2007.08714.

    Args:
        num_classes: C.
        per_class: m; logits of several are averaged.
        assign: ``'greedy'``, as published, or ``'hungarian'``.
        **when: ``every`` and ``online`` of ``CountedMapping``.

    Raises:
        ValueError: an unknown ``assign``; when bound, fewer than C * m source classes.
    """

    def __init__(self, num_classes: int, per_class: int = 1, assign: str = 'greedy', **when) -> None:
        super().__init__(num_classes, **when)
        if assign not in ASSIGNMENTS:
            raise ValueError(f"assign must be one of {', '.join(ASSIGNMENTS)}, not '{assign}'")
        self.assign = assign
        self.register_buffer('sources', torch.full((num_classes, per_class), -1))

    def bind(self, sources: int) -> None:
        check_sources(sources, self.sources, type(self).__name__)
        self._number = sources

    def _estimate(self, counts: Tensor) -> None:
        sources = ASSIGNMENTS[self.assign](counts.cpu().numpy(), self.sources.shape[1])
        self.sources.copy_(torch.from_numpy(sources))

    def _map(self, logits: Tensor) -> Tensor:
        return average(logits, self.sources)

    def matrix(self) -> Tensor:
        return indicator(self.sources, self._number)

    def _is_estimated(self) -> bool:
        return bool((self.sources >= 0).all())


@MAPPINGS.register_module()
class IterativeMapping(FrequencyMapping):
    """As ``FrequencyMapping``, estimated again in each epoch, with the prompts as they have become (ILM).

    Source: Chen et al. (ILM-VP), CVPR 2023, https://arxiv.org/abs/2211.11635.

    Args:
        num_classes: C.
        every: epochs from one estimate to the next.
        **others: of ``FrequencyMapping``.
    """

    def __init__(self, num_classes: int, every: int = 1, **others) -> None:
        super().__init__(num_classes, every=every, **others)
