"""Visual Fourier prompts: Zeng et al., "Visual Fourier Prompt Tuning", NeurIPS 2024, https://arxiv.org/abs/2411.01327

Of the P prompts of a layer, the first M = floor(alpha P) are replaced by the real part of their Fourier transform over
prompts and components (equation 7):

    T(X) = Re FFT2(X) = C_M X C_D - S_M X S_D,    C_n[k, l] = cos(2 pi k l / n), S_n[k, l] = sin(2 pi k l / n)

T sees the even part of X alone, (X + J X) / 2 with (J X)[k, l] = X[-k, -l], and so half of the M * D numbers never act:
they get no gradient, and of 10 prompts 3,842 of 7,680 numbers a layer do something. T(X) is sqrt(M D / 2) times as
large as X, which the norm of the layer takes out again. Trained, T(X) is a file of deep prompts (``plain=True``).
"""

from typing import Any

import torch
from torch import Tensor

from vptx.geometry import At, Geometry
from vptx.prompters.deep import DeepPrompter, make_plain
from vptx.registry import PROMPTERS

__all__ = ['FourierPrompter']


@PROMPTERS.register_module()
class FourierPrompter(DeepPrompter):
    """Deep prompts, some of them the Fourier transform of what is learnt: L * P * D numbers, of which those act twice.

    Source: Zeng et al. (VFPT), NeurIPS 2024, https://arxiv.org/abs/2411.01327, equation 7.

    Args:
        num_tokens: P.
        share: alpha, which the paper chooses from 0, 0.3, 0.5, 0.7 and 1 for each task; 0 are deep prompts.
        **options: of ``DeepPrompter``.

    Raises:
        ValueError: a share that is not in [0, 1].
    """

    def __init__(self, num_tokens: int = 10, share: float = 0.5, **options) -> None:
        super().__init__(num_tokens, **options)
        if not 0 <= share <= 1:
            raise ValueError(f'share must be in [0, 1], not {share!r}')
        self.share = share

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        super().bind(geometry, reads_prompts)
        self.transformed = int(self.share * self.num_tokens)

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'share': self.share}

    def transform(self, prompts: Tensor) -> Tensor:
        """(..., P, D) -> (..., P, D)"""
        number = self.transformed
        if not number:
            return prompts
        first = prompts[..., :number, :]
        exact = first if first.dtype == torch.float64 else first.float()  # of half precision there is no transform
        first = torch.fft.fft2(exact).real.to(prompts.dtype)
        return torch.cat([first, prompts[..., number:, :]], dim=-2)

    def prompts(self, tokens: Tensor, at: At) -> Tensor:
        return self.transform(super().prompts(tokens, at))

    def plain(self) -> DeepPrompter:
        """Deep prompts T(X)."""
        prompts = [self.transform(self.embedding.value(row)) for row in range(len(self.embedding.rows))]
        return make_plain(self, prompts, self.layers, self.shared, self.carry)
