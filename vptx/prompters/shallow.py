"""Shallow visual prompts: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119

P vectors are put between the class token and the patches, once, before the first layer; they travel through the
frozen network with the other tokens (equations 4 to 6):

    [x_1, Z_1, E_1] = L_1([x_0, P, E_0]),    [x_i, Z_i, E_i] = L_i([x_{i-1}, Z_{i-1}, E_{i-1}])
"""

from torch import Tensor

from vptx.geometry import At, Geometry
from vptx.prompters.base import TokenPrompter
from vptx.prompters.deep import DeepPrompter, make_plain
from vptx.prompters.embedding import PromptEmbedding, embedding_arguments
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class ShallowPrompter(TokenPrompter):
    """P learnt tokens before the first layer: P * D numbers.

    Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119, equations 4 to 6.

    Args:
        num_tokens: The number of prompts P.
        embedded: As for ``DeepPrompter``.
        **embedding: ``dropout``, ``project_dim``, ``segments``, ``init`` and others of ``PromptEmbedding``.
    """

    def __init__(self, num_tokens: int = 50, embedded: bool = False, **embedding) -> None:
        super().__init__(num_tokens, layers=[0])
        self.embedded = embedded
        self._embedding = embedding_arguments(type(self), embedding)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        super().bind(geometry, reads_prompts)
        self.embedding = PromptEmbedding(geometry.widths[:1], self.num_tokens, geometry, **self._embedding)

    def prompts(self, tokens: Tensor, at: At) -> Tensor:
        return self.embedding(0, tokens.shape[0])

    @property
    def shares_prefix(self) -> bool:
        return self.embedding.same_for_all

    def plain(self) -> DeepPrompter:
        """Deep prompts of the first layer alone, which travel on."""
        return make_plain(self, [self.embedding.value(0)], [0], shared=False, carry=True)
