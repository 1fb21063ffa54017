"""Learning to prompt: Wang et al., "Learning to Prompt for Continual Learning", CVPR 2022,
https://arxiv.org/abs/2112.08654

A pool has M prompts of l vectors, each with a key. The n prompts whose keys are nearest to the query q(x) of an image
enter before the first layer (equations 2 to 4), and the head reads the average of their outputs
(``readout='prompts'``):

    K_x = the n keys with the largest cos(q(x), k),    loss + lambda sum_{k in K_x} (1 - cos(q(x), k))

q(x) is the class token of the frozen network without prompts.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import At, Geometry
from vptx.prompters.base import TokenPrompter, check_whole
from vptx.prompters.embedding import uniform_bound
from vptx.prompters.query import QueryPrompter
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class L2P(QueryPrompter, TokenPrompter):
    """The n prompts of a pool whose keys are nearest to the image: M * l * D + M * D numbers, 46,080 as published.

    For tasks that come one after the other: what one task has learnt stays in the prompts that it uses. A forward costs
    that of the frozen network in addition.

    Source: Wang et al., CVPR 2022, https://arxiv.org/abs/2112.08654, equations 2 to 4.

    Args:
        pool: M.
        length: l, vectors of a prompt.
        chosen: n.
        pull: lambda, of the term of the loss by which keys come near to their images.
        encoder: of ``QueryPrompter``.

    Raises:
        ValueError: more prompts chosen than there are, or fewer than one of anything.
    """

    def __init__(
        self, pool: int = 10, length: int = 5, chosen: int = 5, pull: float = 0.5, encoder: dict | None = None
    ) -> None:
        if check_whole('chosen', chosen) > check_whole('pool', pool):
            raise ValueError(f'chosen={chosen} prompts are more than the {pool} of the pool')
        super().__init__(chosen * check_whole('length', length), layers=[0], encoder=encoder)
        self.pool, self.length, self.chosen, self.weight = pool, length, chosen, pull

    of_training = TokenPrompter.of_training | {'pull'}

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        super().bind(geometry, reads_prompts)
        width = geometry.widths[0]
        bound = uniform_bound(geometry, width)
        self.rows = nn.Parameter(torch.empty(self.pool, self.length, width).uniform_(-bound, bound))
        self.keys = nn.Parameter(torch.empty(self.pool, geometry.widths[-1]).uniform_(-1, 1))

    def look(self, image: Tensor, tokens: Tensor, query: Tensor | None = None) -> Tensor:
        """Which prompts each image gets: (B, n)"""
        query = self.query(image, query)
        near = F.normalize(query, dim=-1) @ F.normalize(self.keys.detach(), dim=-1).T
        index = near.topk(self.chosen, dim=-1).indices
        self.keep(query, index)
        return index

    def prompts(self, tokens: Tensor, at: At) -> Tensor:
        return self.rows[at.seen].flatten(1, 2)

    def loss(self) -> Mapping[str, Tensor]:
        return {name: self.weight * self.chosen * term for name, term in self.pull(self.keys).items()}
