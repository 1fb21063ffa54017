"""A small network on the image's embedding: Gao et al., "CLIP-Adapter: Better Vision-Language Models with Feature
Adapters", IJCV 2024, https://arxiv.org/abs/2110.04544

    f <- r A(f) + (1 - r) f,    A: d -> d / 4 -> d, no biases, a ReLU after each layer,    r = 0.2

f (d) is the embedding as the image tower gives it. Class names are read as before.
"""

from typing import Any

from torch import Tensor, nn

from vptx.mappings.text import TextHead
from vptx.prompters.base import check_whole
from vptx.registry import MAPPINGS

__all__ = ['CLIPAdapterHead']


@MAPPINGS.register_module()
class CLIPAdapterHead(TextHead):
    """A text head after an adapter of the image's embedding: 2 * d * (d // ``reduction``) numbers.

    All classes share what it learns, so other class names can be read without training.

    Source: Gao et al., IJCV 2024, https://arxiv.org/abs/2110.04544.

    Args:
        ratio: r, from 0, the plain text head, to 1.
        reduction: by how much the hidden layer is narrower than the embedding.
        **options: of ``TextHead``.

    Raises:
        ValueError: options out of range; see also ``TextHead``.
    """

    own_facts = ('ratio', 'reduction')

    def __init__(self, ratio: float = 0.2, reduction: int = 4, **options: Any) -> None:
        super().__init__(**options)
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 <= ratio <= 1:
            raise ValueError(f'ratio must be a number from 0 to 1, not {ratio!r}')
        self.ratio, self.reduction = float(ratio), check_whole('reduction', reduction)

    def bind(self, sources: int) -> None:
        super().bind(sources)
        if self.reduction > sources:
            raise ValueError(f'reduction must be a whole number from 1 to {sources}, not {self.reduction}')
        hidden = sources // self.reduction
        self.adapter = nn.Sequential(
            nn.Linear(sources, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, sources, bias=False), nn.ReLU()
        )

    def adapt(self, x: Tensor) -> Tensor:
        """Embeddings of images (B, d) -> (B, d)"""
        return self.ratio * self.adapter(x) + (1 - self.ratio) * x

    def forward(self, logits: Tensor) -> Tensor:
        return super().forward(self.adapt(logits))

    def linear(self) -> nn.Linear:
        """
        Raises:
            ValueError: logits are no linear map of the embedding.
        """
        raise ValueError('CLIPAdapterHead is no linear layer: the embeddings go through its adapter first')

    def facts(self) -> dict[str, Any]:
        return dict(super().facts(), ratio=self.ratio, reduction=self.reduction)
