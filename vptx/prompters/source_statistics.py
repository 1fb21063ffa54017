"""What class tokens look like on source images, for adaptation at test time: Niu et al., "Test-Time Model Adaptation with
Only Forward Passes" (FOA), ICML 2024, https://arxiv.org/abs/2404.01650

mu_i and sigma_i are the mean and the standard deviation of the class token after layer i, over a batch; after the last
layer of the finished one, which the head reads. With mu_i^S and sigma_i^S of the frozen network on source images, the
loss of a batch has the term (equation 5)

    lambda B / 64 sum_i |mu_i - mu_i^S|^2 + |sigma_i - sigma_i^S|^2

and the head reads the class token moved towards the source (equations 7 to 9), m a moving mean over batches:

    x + gamma (mu_L^S - m),    m <- alpha mu_L + (1 - alpha) m
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vptx.geometry import At, Geometry
from vptx.prompters.base import Prompter
from vptx.registry import PROMPTERS

__all__ = ['SourceStatistics']


@PROMPTERS.register_module()
class SourceStatistics(Prompter):
    """Compares class tokens with those of source images; nothing of it trains. In a stack, after what does.

        prompter=[dict(type='ShallowPrompter', num_tokens=3), dict(type='SourceStatistics')]

    ``FOAHook`` measures the source and moves the mean.

    Args:
        weight: lambda, 0.4 in the paper, 0.2 for ImageNet-R.
        shift: gamma; 0 leaves class tokens where they are.
        momentum: alpha.

    Raises:
        ValueError: options out of range; when bound, a network without a class token, or with layers of several widths.
        RuntimeError: a loss is asked for before the source is measured, or of a single image.
    """

    doors = frozenset({'tokens'})
    adds_tokens = False
    needs_all_tokens = False  # the class token is always among those that are read
    of_training = Prompter.of_training | {'weight', 'shift', 'momentum'}

    def __init__(self, weight: float = 0.4, shift: float = 1.0, momentum: float = 0.1) -> None:
        super().__init__()
        if weight < 0 or not 0 < momentum <= 1:
            raise ValueError(f'weight must not be negative, and momentum be in (0, 1], not {weight!r} and {momentum!r}')
        self.weight, self.shift, self.momentum = weight, shift, momentum
        self._seen: dict[int, Tensor] = {}

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        if not geometry.prefix or len(set(geometry.widths)) > 1:
            raise ValueError(
                f'SourceStatistics compares class tokens of one width, and {geometry.name} has a prefix of '
                f'{geometry.prefix} tokens and layers of widths {sorted(set(geometry.widths))}'
            )
        self.depth, width = len(geometry.widths), geometry.widths[0]
        self.register_buffer('mean', torch.zeros(self.depth, width))
        self.register_buffer('std', torch.zeros(self.depth, width))
        self.register_buffer('images', torch.zeros((), dtype=torch.long))
        self.register_buffer('followed', torch.zeros(width))

    def after_layer(self, tokens: Tensor, at: At) -> Tensor:
        assert at.layer is not None
        if at.layer + 1 < self.depth:
            self._seen[at.layer] = tokens[:, 0]
        return tokens

    def at_end(self, tokens: Tensor, image: Tensor) -> Tensor:
        self._seen[self.depth - 1] = tokens[:, 0]
        if not self.images or not self.shift:
            return tokens
        moved = tokens[:, :1] + (self.shift * (self.mean[-1] - self.followed)).to(tokens.dtype)
        return torch.cat([moved, tokens[:, 1:]], 1)

    @property
    def seen(self) -> Tensor:
        """Class tokens of the last forward (B, L, D)."""
        return torch.stack([self._seen[layer] for layer in range(self.depth)], 1).float()

    @torch.no_grad()
    def measure(self, seen: Tensor) -> None:
        """Take class tokens of source images (B, L, D) as what to come near to; the moving mean begins there."""
        if len(seen) < 2:
            raise ValueError(f'SourceStatistics needs two source images or more, not {len(seen)}')
        self.mean.copy_(seen.mean(0))
        self.std.copy_(seen.std(0))
        self.images.fill_(len(seen))
        self.followed.copy_(self.mean[-1])

    @torch.no_grad()
    def follow(self) -> None:
        """Move the mean by the batch of the last forward."""
        self.followed.lerp_(self.seen[:, -1].mean(0), self.momentum)

    def loss(self) -> Mapping[str, Tensor]:
        seen: Any = self.seen
        if not self.images:
            raise RuntimeError('SourceStatistics has not seen source images: add FOAHook to custom_hooks')
        if len(seen) < 2:
            raise RuntimeError('SourceStatistics compares the spread of a batch: batches of two images or more')
        apart = (seen.mean(0) - self.mean).square().sum() + (seen.std(0) - self.std).square().sum()
        return {'discrepancy': self.weight * len(seen) / 64 * apart}
