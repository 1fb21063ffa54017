"""Cross visual prompts: Huang et al., "CVPT: Cross Visual Prompt Tuning", ICCV 2025, https://arxiv.org/abs/2408.14961

Between attention and MLP of every layer, tokens gather from P prompts by the layer's own frozen maps (equation 7):

    x <- x + W_o softmax(q(x) k(P)^T / sqrt(d)) v(P) + b_o

x and P are not normed first. Deep prompts share one softmax with the image's own keys; here the prompts have one for
themselves, so they keep their weight however many tokens there are. With P = 0 a layer adds W_o b_v + b_o: it does not
begin as the network itself. The public code has copies of the frozen maps in its file, 28.3 M numbers of a ViT-B; here
there are none. In layers with a layer scale or unit norms after attention, what prompts give goes through these, too.
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from vptx.geometry import At, Geometry
from vptx.prompters.base import Prompter, check_listed, check_whole, pick_layers
from vptx.prompters.embedding import PromptEmbedding, embedding_arguments
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class CrossPrompter(Prompter):
    """P learnt vectors for each layer, which its tokens gather from by cross-attention: L * P * D numbers.

    For many prompts: from 1 to 200 VPT falls where this rises, in its paper.

    Source: Huang et al. (CVPT), ICCV 2025, https://arxiv.org/abs/2408.14961, equation 7.

    Args:
        num_tokens: P.
        layers: in which layers, counted from 0, negative from the end; None for all.
        **embedding: ``dropout``, ``init`` and others of ``PromptEmbedding``.

    Raises:
        ValueError: no prompts; when bound, a layer that the network does not have.
    """

    doors = frozenset({'memory'})

    def __init__(self, num_tokens: int = 10, layers: Sequence[int] | None = None, **embedding) -> None:
        super().__init__()
        self.num_tokens = check_whole('num_tokens', num_tokens)
        self._asked = check_listed(layers)
        self._embedding = embedding_arguments(type(self), embedding)

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'layers': list(self.layers)}

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        self.layers = pick_layers(self._asked, geometry)
        widths = tuple(geometry.widths[layer] for layer in self.layers)
        self.embedding = PromptEmbedding(widths, self.num_tokens, geometry, **self._embedding)

    def between(self, tokens: Tensor, at: At) -> Tensor:
        if at.layer not in self.layers:
            return tokens
        assert at.recall is not None
        return tokens + at.recall(tokens, self.embedding(self.layers.index(at.layer), tokens.shape[0]))
