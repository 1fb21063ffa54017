"""Deep visual prompts: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119

Every layer gets P vectors of its own, and what it makes of them is thrown away (equation 7):

    [x_i, _, E_i] = L_i([x_{i-1}, P_{i-1}, E_{i-1}]),    i = 1 ... L

A prompt whose output is not used acts through its key and value alone, K = W_k LN_1(P), V = W_v LN_1(P). That is
door 3: exact, and the prompt costs neither a query, nor an output projection, nor an MLP.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from vptx.binding import bind
from vptx.geometry import At, Geometry
from vptx.prompters.base import TokenPrompter
from vptx.prompters.embedding import PromptEmbedding, embedding_arguments
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class DeepPrompter(TokenPrompter):
    """P learnt tokens before each of ``layers``: (number of layers) * P * D numbers.

    Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119, equation 7.

    Args:
        num_tokens: The number of prompts P in each layer.
        layers: The layers that have prompts, counted from 0, or from the end if negative. None is all layers. The
            paper's depth ablation (figure 7) is ``range(n)`` from below and ``range(-n, 0)`` from above.
        shared: If true, all layers use the same P vectors (figure 12). Each layer draws its own dropout mask.
        carry: If true, the outputs of the prompts go on through layers that have no prompts of their own, as in the
            public code. If false, they are dropped after the layer into which they were put.
        embedded: If true, the prompts of the first layer go through what the network does to embedded patches before
            that layer. In CLIP's image towers this is a norm, through which the prompts of IVLP, MaPLe and PromptSRC
            go. In text towers they always do: it gives them the positions of the words in whose place they stand.
        **embedding: ``dropout``, ``project_dim``, ``segments``, ``init`` and others of ``PromptEmbedding``.
    """

    def __init__(
        self,
        num_tokens: int = 50,
        layers: Sequence[int] | None = None,
        shared: bool = False,
        carry: bool = True,
        embedded: bool = False,
        **embedding,
    ) -> None:
        super().__init__(num_tokens, layers, carry)
        self.shared = shared
        self.embedded = embedded
        self._embedding = embedding_arguments(type(self), embedding)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        super().bind(geometry, reads_prompts)
        widths = tuple(geometry.widths[layer] for layer in self.layers)
        if self.shared:
            if len(set(widths)) > 1:
                raise ValueError(f'shared=True needs layers of one width, {geometry.name} has {sorted(set(widths))}')
            widths = widths[:1]
        self.embedding = PromptEmbedding(widths, self.num_tokens, geometry, **self._embedding)

    def prompts(self, tokens: Tensor, at: At) -> Tensor:
        return self.embedding(0 if self.shared else self.layers.index(at.layer), tokens.shape[0])

    def plain(self) -> 'DeepPrompter':
        """The same prompts, without projection, masks and dropout."""
        prompts = [self.embedding.value(row) for row in range(len(self.embedding.rows))]
        return make_plain(self, prompts, self.layers, self.shared, self.carry)

    @property
    def shares_prefix(self) -> bool:
        return self.embedding.same_for_all


@torch.no_grad()
def make_plain(
    prompter: TokenPrompter, prompts: Sequence[Tensor], layers: Sequence[int], shared: bool, carry: bool
) -> DeepPrompter:
    """The DeepPrompter with these prompts, (P, D) of each layer, bound to what ``prompter`` is bound to."""
    plain = DeepPrompter(len(prompts[0]), layers, shared, carry, prompter.embedded)
    with torch.random.fork_rng(devices=[]):  # what is drawn first is not kept
        bind(plain, *(prompter.bound_to or ()))
    plain.to(prompts[0].device, prompts[0].dtype)
    for mine, row in zip(plain.embedding.rows, prompts, strict=True):
        mine.copy_(row)
    return plain
