"""Training images as a memory: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification",
ECCV 2022, https://arxiv.org/abs/2111.03930

    l = s f Z^T + alpha exp(-beta (1 - f F^T)) L

f (B, d) are embeddings of length 1, s and Z the scale and the class names of the text head. The keys F (N, d) are the
embeddings of the N training images, each averaged over some augmented epochs and of length 1. L (N, C) has their
labels. Tip-Adapter trains nothing. Tip-Adapter-F trains the keys.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.mappings.text import TextHead
from vptx.prompters.base import check_whole
from vptx.registry import MAPPINGS
from vptx.text import check_names

__all__ = ['TipAdapterHead']

#: What alpha and beta are chosen from.
ALPHAS = tuple(step / 4 for step in range(21))
BETAS = tuple(step / 2 for step in range(1, 21))


@MAPPINGS.register_module()
class TipAdapterHead(TextHead):
    """A text head and a memory of the training images: N * d numbers, which train with ``train_keys``.

    In a run, ``TipAdapterHook`` fills the memory before training, and chooses alpha and beta on the
    validation images. In a script, ``vptx.fill_cache`` does. The prompt file holds keys, labels, alpha and beta,
    and the class names, which a model takes over that loads it.

    Source: Zhang et al., ECCV 2022, https://arxiv.org/abs/2111.03930.

    Args:
        num_images: N, the number of training images; by default that of the data or of the file.
        train_keys: whether the keys train (Tip-Adapter-F).
        alpha, beta: how much the memory counts, and how near an image must be to a key.
        epochs: over how many augmented epochs the keys are averaged.
        search: whether alpha and beta are chosen on the validation images, once, before training. False leaves them as
            they are given.
        **options: of ``TextHead``.

    Attributes:
        ready: whether the memory is filled, or was loaded.

    Raises:
        ValueError: options out of range; see also ``TextHead``.
    """

    def __init__(
        self,
        num_images: int | None = None,
        train_keys: bool = False,
        alpha: float = 1.0,
        beta: float = 5.5,
        epochs: int = 10,
        search: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        for name, value in dict(alpha=alpha, beta=beta).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float('inf'):
                raise ValueError(f'{name} must be a number of at least 0, not {value!r}')
        self.num_images = None if num_images is None else check_whole('num_images', num_images)
        self.epochs = check_whole('epochs', epochs)
        self.train_keys, self.search = train_keys, search
        self.register_buffer('alpha', torch.tensor(float(alpha)))
        self.register_buffer('beta', torch.tensor(float(beta)))
        self.register_buffer('labels', torch.full((num_images or 0,), -1))

    def bind(self, sources: int) -> None:
        super().bind(sources)
        self._set_keys(torch.zeros(len(self.labels), sources))

    def _set_keys(self, keys: Tensor) -> None:
        if self.train_keys:
            self.keys = nn.Parameter(keys)
        else:
            self.register_buffer('keys', keys)

    def allocate(self, number: int) -> None:
        """Make a memory for so many images, where the number was left open and none is remembered yet."""
        if self.num_images is None and not self.ready and len(self.labels) != number:
            self.labels = self.labels.new_full((number,), -1)
            self._set_keys(self.keys.new_zeros(number, self.keys.shape[1]))

    @property
    def is_open(self) -> bool:
        return False

    @property
    def ready(self) -> bool:
        return len(self.labels) > 0 and bool(((self.labels >= 0) & (self.labels < self.num_classes)).all())

    def set_classes(self, classes: Any, template: Any = None) -> None:
        """
        Raises:
            ValueError: the memory has images of its own classes alone.
        """
        if (self.labels >= 0).any() and check_names(classes) != self.class_names:
            raise ValueError(
                f'the memory of {type(self).__name__} has images of its {self.num_classes} classes, and none of '
                'others: use a TextHead'
            )
        super().set_classes(classes, template)

    @property
    def adopts_classes(self) -> bool:
        return True

    def prepare(self, tensors: Mapping[str, Tensor]) -> None:
        """A memory of as many images as there are in the file."""
        if 'labels' in tensors and tensors['labels'].dim() == 1:
            self.allocate(len(tensors['labels']))

    @torch.no_grad()
    def fill(self, features: Tensor, labels: Tensor) -> None:
        """Remember embeddings (N, d), whatever their lengths, and their labels (N,).

        Raises:
            ValueError: another number of images, or a label that is none of the classes.
        """
        self.allocate(len(features))
        if len(features) != len(self.labels):
            raise ValueError(
                f'there are {len(features)} training images, and {type(self).__name__} was made for '
                f'num_images={len(self.labels)}: set num_images={len(features)}'
            )
        if not ((labels >= 0) & (labels < self.num_classes)).all():
            raise ValueError(f'labels must be from 0 to {self.num_classes - 1}, not {sorted(set(labels.tolist()))}')
        self.keys.copy_(F.normalize(features, dim=-1))
        self.labels.copy_(labels)

    def forward(self, logits: Tensor) -> Tensor:
        if not self.ready:
            raise RuntimeError(
                f'{type(self).__name__} remembers the training images, and has seen none yet: train by a config with '
                'PromptTuningHook, load a prompt file, or call vptx.fill_cache(model, batches)'
            )
        return super().forward(logits) + self.alpha.to(logits.dtype) * self.recall(logits, self.beta)

    def recall(self, x: Tensor, beta: Tensor | float) -> Tensor:
        """What the memory says of embeddings: (B, d) -> (B, C)"""
        near = F.normalize(x, dim=-1) @ self.keys.to(x.dtype).T
        weights = (beta * (near - 1)).exp().to(x.dtype)
        return weights.new_zeros(x.shape[0], self.num_classes).index_add(1, self.labels, weights)

    @torch.no_grad()
    def choose(self, x: Tensor, labels: Tensor) -> float:
        """Set alpha and beta to those that classify validation images best; of equals the smallest.

        Args:
            x: their embeddings (B, d).
            labels: their classes (B,).

        Returns:
            The share of images that are then classified correctly.
        """
        scores, best = super().forward(x), (-1, 0.0, 0.0)
        recalled = {beta: self.recall(x, beta) for beta in BETAS}
        for alpha in ALPHAS[self.train_keys :]:  # with an alpha of 0 no gradient would reach the keys
            for beta in BETAS:
                right = int(((scores + alpha * recalled[beta]).argmax(1) == labels).sum())
                if right > best[0]:
                    best = right, alpha, beta
        self.alpha.fill_(best[1])
        self.beta.fill_(best[2])
        return best[0] / len(x)

    def linear(self) -> nn.Linear:
        """
        Raises:
            ValueError: logits are no linear map of the embedding.
        """
        raise ValueError(f'{type(self).__name__} is no linear layer: its logits have exponentials')
