"""DualPrompt: Wang et al., "DualPrompt: Complementary Prompting for Rehearsal-free Continual Learning", ECCV 2022,
https://arxiv.org/abs/2204.04799

Prefixes of attention, raw keys and values: general ones g in the first layers, and in the next ones an expert e_t of
each task, with a key k_t (equations 4 to 7). While task t is learnt, all its images get e_t, and the key comes near to
their queries; at test time the nearest key says which expert an image gets:

    t(x) = argmax_t cos(q(x), k_t),    loss + lambda (1 - cos(q(x), k_t))

q(x) is the class token of the frozen network without prompts. Each image has the expert of its own key: a well-known
public code reshapes where it has to permute, and gives images rows of the experts of others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.geometry import At, Geometry, KeyValue
from vptx.prompters.base import check_whole, pick_layers
from vptx.prompters.query import QueryPrompter
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class DualPrompt(QueryPrompter):
    """Prefixes of all tasks and of each task: 2 * D * (g * l + T * e * l) + T * D numbers, 253,440 as published.

    For tasks that come one after the other; call ``begin_task(t)`` before each. A forward costs that of the frozen
    network in addition.

    Source: Wang et al., ECCV 2022, https://arxiv.org/abs/2204.04799, equations 4 to 7.

    Args:
        tasks: T.
        length: l, keys and values of a prefix.
        general: the layers of the g general prefixes; None for the first two.
        expert: the layers of the e experts of each task; None for the three after the first two, as far as they are
            there.
        pull: lambda.
        encoder: of ``QueryPrompter``.

    Raises:
        ValueError: fewer than one of anything; when bound, layers that the network does not have.
    """

    doors = frozenset({'memory'})
    of_training = QueryPrompter.of_training | {'pull'}

    def __init__(
        self,
        tasks: int = 10,
        length: int = 5,
        general: Sequence[int] | None = None,
        expert: Sequence[int] | None = None,
        pull: float = 0.5,
        encoder: dict | None = None,
    ) -> None:
        super().__init__(encoder=encoder)
        self.tasks, self.length = check_whole('tasks', tasks), check_whole('length', length)
        self.general, self.expert, self.weight = general, expert, pull

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'general': list(self.general_layers), 'expert': list(self.expert_layers)}

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        super().bind(geometry, reads_prompts)
        depth = geometry.depth
        general = range(min(2, depth - 1)) if self.general is None else self.general
        expert = range(min(2, depth - 1), min(5, depth)) if self.expert is None else self.expert
        self.general_layers, self.expert_layers = (pick_layers(layers, geometry) for layers in (general, expert))
        if set(self.general_layers) & set(self.expert_layers) or not self.expert_layers:
            raise ValueError(
                f'experts are in other layers than general prefixes, and at least in one; not {list(expert)} with '
                f'{list(general)}'
            )

        def draw(layer: int, *first: int) -> Tensor:
            heads, width = geometry.heads[layer], geometry.head_width(layer)
            return torch.empty(*first, 2, heads, self.length, width).uniform_(-0.01, 0.01)

        self.generals = nn.ParameterList(draw(layer) for layer in self.general_layers)
        self.experts = nn.ParameterList(draw(layer, self.tasks) for layer in self.expert_layers)
        self.keys = nn.Parameter(torch.empty(self.tasks, geometry.widths[-1]).uniform_(-1, 1))

    def begin_task(self, task: int) -> None:
        if not 0 <= task < self.tasks:
            raise ValueError(f'task {task} is out of range: DualPrompt has experts of the tasks 0 to {self.tasks - 1}')
        super().begin_task(task)

    def look(self, image: Tensor, tokens: Tensor, query: Tensor | None = None) -> Tensor:
        """Which expert each image gets: (B,)"""
        query = self.query(image, query)
        begun = self.tasks if self.task is None else self.task + 1
        near = F.normalize(query, dim=-1) @ F.normalize(self.keys[:begun].detach(), dim=-1).T
        index = near.argmax(-1)
        if self.training and self.task is not None:
            index = torch.full_like(index, self.task)
        self.keep(query, index[:, None])
        return index

    def memory(self, tokens: Tensor, at: At) -> KeyValue | None:
        if at.layer in self.general_layers:
            return KeyValue(*self.generals[self.general_layers.index(at.layer)])
        if at.layer in self.expert_layers:
            pairs = self.experts[self.expert_layers.index(at.layer)][at.seen]
            return KeyValue(pairs[:, 0], pairs[:, 1])
        return None

    def loss(self) -> Mapping[str, Tensor]:
        return {name: self.weight * term for name, term in self.pull(self.keys).items()}
