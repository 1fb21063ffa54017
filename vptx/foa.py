"""Adaptation at test time by forward calls alone: Niu et al., "Test-Time Model Adaptation with Only Forward Passes"
(FOA), ICML 2024, https://arxiv.org/abs/2404.01650

mu_i and sigma_i are the mean and the standard deviation over a batch of the class token after layer i, of the finished
one after the last, mu_i^S and sigma_i^S those of the frozen network on source images. The prompts of a batch are the
best of a population (``vptx.optim.cma``) by equation 5, and no label is used:

    sum_x H(f(x)) + lambda B / 64 sum_i |mu_i - mu_i^S|^2 + |sigma_i - sigma_i^S|^2

H is the entropy of a prediction. The head then reads class tokens that are moved towards the source (7 to 9):

    x + gamma (mu_L^S - m),    m <- 0.9 m + 0.1 mu_L

mu_L is that of the whole population, and m that of the batches before; the first batch is not moved.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vptx.attach import prompted_network
from vptx.geometry import At
from vptx.optim.cma import Population
from vptx.prompters.base import Prompter

__all__ = ['FOA', 'entropy']


class _Watch:
    """Class tokens of a forward, as a prompter's methods see them; the head reads them moved by ``shift``."""

    def __init__(self, prompter: Prompter, depth: int) -> None:
        self.own, self.depth, self.seen = prompter, depth, dict[int, Tensor]()
        self.shift: Tensor | None = None
        self.after, self.end = prompter.after_layer, prompter.at_end

    def __enter__(self) -> '_Watch':
        self.own.after_layer = self._after_layer  # type: ignore[method-assign]
        self.own.at_end = self._at_end  # type: ignore[method-assign]
        return self

    def __exit__(self, *reason: Any) -> None:
        del self.own.after_layer, self.own.at_end

    def _after_layer(self, tokens: Tensor, at: At) -> Tensor:
        tokens = self.after(tokens, at)
        assert at.layer is not None
        self.seen[at.layer] = tokens[:, 0].float()
        return tokens

    def _at_end(self, tokens: Tensor, image: Tensor) -> Tensor:
        tokens = self.end(tokens, image)
        self.seen[self.depth - 1] = tokens[:, 0].float()
        if self.shift is None:
            return tokens
        return torch.cat([tokens[:, :1] + self.shift.to(tokens.dtype), tokens[:, 1:]], 1)

    @property
    def tokens(self) -> list[Tensor]:
        """Of each layer (B, D)."""
        return [self.seen[layer] for layer in range(self.depth)]


class FOA:
    """Adapts the prompts of a model to the images that it is asked about, batch after batch.

        model = vptx.attach(model, dict(type='ShallowPrompter', num_tokens=3), tune=[]).eval()
        adapted = FOA(model, source)            # some batches of images like those of training
        for images in stream:
            logits = adapted(images)

    Args:
        model: prompted; the prompts are set, and nothing else of it.
        source: batches of images (B, 3, H, W), without labels; 32 in all in the paper.
        forward: images -> logits (B, C); None for the model itself.
        weight: lambda, 0.4 in the paper, 0.2 for ImageNet-R.
        shift: gamma; 0 leaves class tokens where they are.
        momentum: share of a batch in the moving mean.
        population: n, with the best one of the batch before.
        sigma: of the first population, around prompts of zero.
        seed: of the population.

    Raises:
        ValueError: a model without prompts that train, or whose network has no class token; fewer than two source
            images; options out of range.
        ImportError: the package ``cmaes`` is not installed.
    """

    def __init__(
        self,
        model: nn.Module,
        source: Iterable[Tensor],
        forward: Callable[[Tensor], Tensor] | None = None,
        weight: float = 0.4,
        shift: float = 1.0,
        momentum: float = 0.1,
        population: int = 28,
        sigma: float = 1.0,
        seed: int = 0,
    ) -> None:
        if weight < 0 or not 0 < momentum <= 1:
            raise ValueError(f'weight must not be negative and momentum be in (0, 1], not {weight!r} and {momentum!r}')
        self.network, self.forward = prompted_network(model), forward or model
        self.weight, self.shift, self.momentum = weight, shift, momentum
        self.prompts = list(self.network.prompter.parameters())
        geometry = self.network.net.geometry
        if not self.prompts or not self.network.net.has_class_token:
            raise ValueError(
                f'FOA adapts prompts by the statistics of class tokens: {geometry.name} has '
                f'{"a" if self.network.net.has_class_token else "no"} class token, and '
                f'{len(self.prompts)} tensors of prompts'
            )
        self.depth = len(geometry.widths)
        self.mean, self.std = self._measure(source)
        self._start = [prompt.detach().clone() for prompt in self.prompts]
        self._options = dict(sigma=sigma, size=population, seed=seed)
        self.reset()

    def reset(self) -> None:
        """Forget all batches: the prompts are those from before the first one."""
        for prompt, value in zip(self.prompts, self._start, strict=True):
            prompt.data.copy_(value)
        numbers = sum(prompt.numel() for prompt in self.prompts)
        self.population = Population(self.prompts, start=np.zeros(numbers), **self._options)  # type: ignore[arg-type]
        self.followed: Tensor | None = None

    @torch.no_grad()
    def _measure(self, source: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Mean and standard deviation of each layer's class token (D,), of the network without prompts."""
        found: list[list[Tensor]] = []
        plain = Prompter()
        with self.network.without_prompter(plain), _Watch(plain, self.depth) as watch:
            for images in source:
                self.forward(images)
                found.append(watch.tokens)
        number = sum(len(tokens[0]) for tokens in found)
        if number < 2:
            raise ValueError(f'FOA compares statistics: two source images or more are needed, not {number}')
        of_layers = [torch.cat(tokens) for tokens in zip(*found, strict=True)]
        return [tokens.mean(0) for tokens in of_layers], [tokens.std(0) for tokens in of_layers]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Adapt to a batch, and predict it: (B, 3, H, W) -> logits (B, C).

        Raises:
            ValueError: a single image, which has no spread.
        """
        if len(images) < 2:
            raise ValueError('FOA compares the spread of a batch: give it two images or more')
        means: list[Tensor] = []
        with _Watch(self.network.prompter, self.depth) as watch:

            def loss() -> float:
                found = entropy(self.forward(images)).sum() + self.weight * len(images) / 64 * self._apart(watch.tokens)
                means.append(watch.tokens[-1].mean(0))
                return float(found)

            self.population.step(loss)
            if self.followed is not None:
                watch.shift = self.shift * (self.mean[-1] - self.followed)
            logits = self.forward(images)
        mean = torch.stack(means).mean(0)
        self.followed = mean if self.followed is None else self.followed.lerp(mean, self.momentum)
        return logits

    def _apart(self, tokens: list[Tensor]) -> Tensor:
        """Squared distances of a batch's statistics from those of the source."""
        pairs = zip(tokens, self.mean, self.std, strict=True)
        parts = [(x.mean(0) - mean).square().sum() + (x.std(0) - std).square().sum() for x, mean, std in pairs]
        return torch.stack(parts).sum()


def entropy(logits: Tensor) -> Tensor:
    """Of each prediction: (B, C) -> (B,)"""
    logarithms = logits.float().log_softmax(1)
    return -(logarithms.exp() * logarithms).sum(1)
