"""Learnt words before a class name: Zhou et al., "Learning to Prompt for Vision-Language Models" (CoOp), IJCV
2022, https://arxiv.org/abs/2109.01134

    [SOT] V_1 ... V_M name . [EOT]

M vectors V (M, D) stand where words would, and get the positions of their places. All classes share them, or each has
its own. With a depth J, the rows of the first prompts are overwritten before the layers 1 to J - 1 by other learnt
vectors, without positions: the language side of Khattak et al., "MaPLe", CVPR 2023, https://arxiv.org/abs/2210.03117,
and of "PromptSRC", ICCV 2023, https://arxiv.org/abs/2307.06948
"""

from typing import Any

import torch
from torch import Tensor, nn

from vptx.geometry import At, Geometry
from vptx.prompters.base import Prompter, check_whole
from vptx.registry import PROMPTERS

__all__ = ['ContextPrompter']

POSITIONS = ('end', 'middle', 'front')


@PROMPTERS.register_module()
class ContextPrompter(Prompter):
    """M learnt word vectors around a class name, for a text tower: M * D numbers, C * M * D if each class has its own.

    It stands in a text head: ``mapping=dict(type='TextHead', prompter=dict(type='ContextPrompter', num_tokens=16))``.

    Source: Zhou et al. (CoOp), IJCV 2022, https://arxiv.org/abs/2109.01134; with a depth, Khattak et al. (MaPLe), CVPR
    2023, https://arxiv.org/abs/2210.03117.

    Args:
        num_tokens: M; by default as many as there are ``words``, or 16.
        words: a phrase that the vectors start as, such as ``'a photo of a'``. Fewer vectors than words stand for its
            first tokens; what is left of the phrase stays as it is, so that training starts from the whole template.
        class_specific: whether each class has vectors of its own, which serve no others.
        position: where the name stands: after the vectors (``'end'``), in their ``'middle'`` or in ``'front'``.
        depth: J, how many layers have prompts of their own, the first one included. 1 is CoOp.
        zeros_ahead: whether there may be more vectors than words; those before the words start as zeros, as in
            ProGrad.

    Raises:
        ValueError: options out of range or that do not go together; when bound, a depth that the tower does not have,
            or words of several tokens where they cannot stay together.
    """

    of_training = Prompter.of_training | {'zeros_ahead'}
    doors = frozenset({'words', 'tokens'})
    shares_prefix = True

    def __init__(
        self,
        num_tokens: int | None = None,
        words: str | None = None,
        class_specific: bool = False,
        position: str = 'end',
        depth: int = 1,
        zeros_ahead: bool = False,
    ) -> None:
        super().__init__()
        number = len(words.split()) if words else 16
        self.slots = check_whole('num_tokens', number if num_tokens is None else num_tokens)
        self._zeros = self.slots - number if zeros_ahead and words else 0
        if self._zeros > 0:
            words = ' '.join(['X'] * self._zeros + [words or ''])
        elif words is not None and self.slots > number:
            raise ValueError(
                f'num_tokens={self.slots} vectors cannot start as the {number} words of {words!r}: leave num_tokens or '
                'words out, or let the first ones be zeros (zeros_ahead=True)'
            )
        if position not in POSITIONS:
            raise ValueError(f'position must be one of {", ".join(POSITIONS)}, not {position!r}')
        self.depth = check_whole('depth', depth)
        if depth > 1 and (class_specific or position != 'end'):
            raise ValueError("prompts of several layers (depth) stand before the name, for all classes: position='end'")
        self.name_at, self.per_class = position, class_specific
        self.start = words
        self.phrase = words or ' '.join(['X'] * self.slots)
        if class_specific or position != 'end':
            self.doors = frozenset({'words'})

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        if self.depth > geometry.depth:
            raise ValueError(f'depth={self.depth}, but {geometry.name} has {geometry.depth} layers')
        width = geometry.widths[0]
        first = torch.empty(self.slots, width).normal_(std=0.02)
        if self.start is not None:
            assert geometry.word_vectors is not None  # the door 'words' has them
            vectors = geometry.word_vectors(self.start).float().cpu()
            if self.name_at != 'end' and len(vectors) != self.slots:
                raise ValueError(
                    f"{self.start!r} has {len(vectors)} tokens and {self.slots} vectors; only position='end' keeps "
                    'what is left of the words in their place'
                )
            first = vectors[: self.slots].clone()
            first[: max(self._zeros, 0)] = 0
        if self.per_class:
            first = first.repeat(geometry.classes, 1, 1)
            if self.start is None:
                first.normal_(std=0.02)
        self.context = nn.Parameter(first)
        self.deep = nn.ParameterList(torch.empty(self.slots, width).normal_(std=0.02) for _ in range(1, self.depth))

    def words(self, at: At) -> Tensor:
        return self.context

    def language(self) -> tuple[Tensor, ...]:
        return () if self.per_class else (self.context, *self.deep)

    def prompts(self, at: At) -> Tensor:
        """Those that overwrite rows before the layer ``at``, from 1 on: (M, D), or (B, M, D) of each text."""
        return self.deep[at.layer - 1]

    def before_layer(self, tokens: Tensor, at: At) -> Tensor:
        if at.layer is None or not 0 < at.layer < self.depth:
            return tokens
        prompts = self.prompts(at).to(tokens).expand(len(tokens), -1, -1)
        return torch.cat([tokens[:, :1], prompts, tokens[:, 1 + self.slots :]], dim=1)

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'num_tokens': self.slots}

    @property
    def adds_tokens(self) -> bool:
        return False
