"""Learnt words that depend on the image (CoCoOp): Zhou et al., "Conditional Prompt Learning for Vision-Language
Models", CVPR 2022, https://arxiv.org/abs/2203.05557

    V_m(x) = V_m + pi(f / |f|),    pi: d -> d / 16 -> ReLU -> D

f (d) is the embedding of the image. All M vectors are shifted alike. So each image has its own features of each class.
"""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import At, Geometry
from vptx.prompters.base import check_whole
from vptx.prompters.context import ContextPrompter
from vptx.registry import PROMPTERS

__all__ = ['ConditionalContextPrompter']


@PROMPTERS.register_module()
class ConditionalContextPrompter(ContextPrompter):
    """M word vectors, shifted by what a small network makes of the image's embedding: M * D + d * h + h + h * D + D
    numbers, h = d // ``reduction``.

    It stands in a text head: ``mapping=dict(type='TextHead', prompter=dict(type='ConditionalContextPrompter'))``. The
    small network begins with torch's own numbers, as published, so training does not start from the template.

    Source: Zhou et al. (CoCoOp), CVPR 2022, https://arxiv.org/abs/2203.05557.

    Args:
        num_tokens, words, position, depth: of ``ContextPrompter``.
        reduction: by how much the hidden layer is narrower than the embedding.

    Raises:
        ValueError: options out of range; when bound, an embedding narrower than ``reduction``.
    """

    takes_note = True

    def __init__(
        self,
        num_tokens: int | None = None,
        words: str | None = None,
        position: str = 'end',
        depth: int = 1,
        reduction: int = 16,
    ) -> None:
        super().__init__(num_tokens, words, False, position, depth)
        self.reduction = check_whole('reduction', reduction)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        super().bind(geometry, reads_prompts)
        joint, width = geometry.joint, geometry.widths[0]
        hidden = joint // self.reduction
        if not hidden:
            raise ValueError(
                f'reduction must be a whole number from 1 to {joint}, the width of embeddings of {geometry.name}, not '
                f'{self.reduction}'
            )
        layers = OrderedDict(down=nn.Linear(joint, hidden), relu=nn.ReLU(), up=nn.Linear(hidden, width))
        self.meta_net = nn.Sequential(layers)

    def words(self, at: At) -> Tensor:
        """(B, 1, M, D), or those of no image (M, D) without a note."""
        if at.note is None:
            return self.context
        shift = self.meta_net(F.normalize(at.note, dim=-1))
        return self.context + shift[:, None, None]
