"""A target class is a mixture of all source classes, by Bayes' rule.

Cai et al., "Bayesian-guided Label Mapping for Visual Reprogramming", NeurIPS 2024, https://arxiv.org/abs/2410.24018.
With A (K, C), how often an image of class t is taken for an s, p(t | s) is estimated with Laplace's smoothing and
normalised over the sources of each target:

    W[s, t] = P[s, t] / sum_s P[s, t],    P[s, t] = A[s, t] / (sum_t A[s, t] + smoothing),    y = x W

BLM counts the class that an image is taken for; BLM+ adds the probabilities of the k likeliest ones instead.
"""

import torch
from torch import Tensor

from vptx.mappings.base import CountedMapping
from vptx.registry import MAPPINGS

__all__ = ['BayesianMapping']


@MAPPINGS.register_module()
class BayesianMapping(CountedMapping):
    """BLM, or, with ``top``, BLM+: a matrix (K, C), estimated again in each epoch.

    A class that no image has been seen of is the average of all sources, where the public code divides by zero.

    Source: Cai et al., NeurIPS 2024, https://arxiv.org/abs/2410.24018.

    Args:
        num_classes: C.
        smoothing: Laplace's lambda.
        top: None counts the likeliest source class; a share of C, 0.15 as published for BLM+, adds up the
            probabilities of the k = top * C likeliest, at least one.
        every, online: of ``CountedMapping``.

    Raises:
        ValueError: a ``smoothing`` or a ``top`` that is not positive.
    """

    def __init__(
        self, num_classes: int, smoothing: float = 1.0, top: float | None = None, every: int = 1, online: bool = True
    ) -> None:
        super().__init__(num_classes, every, online)
        if smoothing <= 0 or (top is not None and top <= 0):
            raise ValueError(f'smoothing and top must be positive, not {smoothing!r} and {top!r}')
        self.smoothing = smoothing
        self.top = top

    def bind(self, sources: int) -> None:
        self.register_buffer('weight', torch.full((sources, self.num_classes), torch.nan))

    def votes(self, logits: Tensor) -> Tensor:
        if self.top is None:
            return super().votes(logits)
        number = min(max(int(self.top * self.num_classes), 1), logits.shape[1])
        likeliest = logits.softmax(1).topk(number)
        return torch.zeros_like(logits).scatter_(1, likeliest.indices, likeliest.values)

    def _estimate(self, counts: Tensor) -> None:
        share = counts / (counts.sum(1, keepdim=True) + self.smoothing)
        seen = share.sum(0, keepdim=True) > 0
        self.weight.copy_(torch.where(seen, share, 1.0) / torch.where(seen, share, 1.0).sum(0, keepdim=True))

    def _map(self, logits: Tensor) -> Tensor:
        return logits @ self.weight.to(logits.dtype)

    def matrix(self) -> Tensor:
        return self.weight

    def _is_estimated(self) -> bool:
        return bool(self.weight.isfinite().all())
