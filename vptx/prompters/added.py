"""Added visual prompts: the "add" location of Jia et al., "Visual Prompt Tuning", ECCV 2022, figure 5
https://arxiv.org/abs/2203.12119

No token is put in; learnt vectors are added to those that are there, x_i <- x_i + P_i, before the first layer or
of every layer.
"""

import torch
from torch import Tensor

from vptx.geometry import At, Geometry
from vptx.prompters.base import Prompter
from vptx.prompters.embedding import PromptEmbedding, embedding_arguments
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class AddedPrompter(Prompter):
    """Learnt vectors added to the tokens: (K+N) * D numbers, or D, for each layer.

    Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119, figure 5 ("add").

    Args:
        per_token: one vector for each token, class token included (the images must then keep the network's own size),
            or one for all.
        deep: before every layer, or before the first alone.
        **embedding: ``dropout``, ``dropout_per``, ``project_dim`` and ``init`` of
            ``PromptEmbedding``.
    """

    doors = frozenset({'tokens'})
    adds_tokens = False

    def __init__(self, per_token: bool = True, deep: bool = False, **embedding) -> None:
        super().__init__()
        self.per_token = per_token
        self.deep = deep
        self._embedding = embedding_arguments(type(self), embedding)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.prefix = geometry.prefix
        widths = geometry.widths if self.deep else geometry.widths[:1]
        vectors = [geometry.length(layer) if self.per_token else 1 for layer in range(len(widths))]
        self.embedding = PromptEmbedding(widths, vectors, geometry, **self._embedding)

    def before_layer(self, tokens: Tensor, at: At) -> Tensor:
        if at.layer is None or (at.layer > 0 and not self.deep):
            return tokens
        added = self.embedding(at.layer, tokens.shape[0])
        if not self.per_token:
            return tokens + added
        own = self.prefix + at.grid[0] * at.grid[1]
        if added.shape[-2] != own:
            raise ValueError(
                f'AddedPrompter has learnt a vector for each of {added.shape[-2]} tokens, this image has '
                f"{own}: keep the network's own image size, or use per_token=False"
            )
        prompts = tokens.shape[1] - own
        if prompts:  # of another prompter, after the prefix; they get nothing
            none = added.new_zeros(*added.shape[:-2], prompts, added.shape[-1])
            added = torch.cat([added[..., : self.prefix, :], none, added[..., self.prefix :, :]], dim=-2)
        return tokens + added
