"""A target class is a learnt combination of all source logits: y = x W + b.

Tsao et al., "AutoVP", ICLR 2024, https://arxiv.org/abs/2310.08381 (FullyMap). What is left of a
linear probe where a network shows nothing but its logits.
"""

from torch import Tensor, nn

from vptx.mappings.base import LabelMapping, check_classes
from vptx.registry import MAPPINGS

__all__ = ['FullyConnectedMapping']


@MAPPINGS.register_module()
class FullyConnectedMapping(LabelMapping):
    """A linear layer on the source logits, which trains as the prompter does: (K + 1) * C numbers.

    Source: Tsao et al. (AutoVP), ICLR 2024, https://arxiv.org/abs/2310.08381.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = check_classes(num_classes)

    def bind(self, sources: int) -> None:
        self.linear = nn.Linear(sources, self.num_classes)

    def forward(self, logits: Tensor) -> Tensor:
        return self.linear(logits)

    def as_linear(self) -> nn.Linear:
        return self.linear

    def matrix(self) -> Tensor:
        return self.linear.weight.detach().T
