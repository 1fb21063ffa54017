"""CODA-Prompt: Smith et al., "CODA-Prompt: COntinual Decomposed Attention-based Prompting for Rehearsal-Free Continual
Learning", CVPR 2023, https://arxiv.org/abs/2211.13218

The prefix of a layer is a sum of M components, weighted by how near the query of the image, seen through the
component's attention a_m, is to its key k_m (equations 5 and 6):

    p(x) = sum_m cos(q(x) * a_m, k_m) P_m,    half of its rows keys, half values

Every task learns M / T new components, which begin orthogonal to the older ones; those stay as they are.
q(x) is the class token of the frozen network without prompts.
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
class CODAPrompt(QueryPrompter):
    """Prefixes that each image weighs from components: M * (l * D + 2 * D) numbers a layer, 3,840,000 as published.

    For tasks that come one after the other; call ``begin_task(t)`` before each. A forward costs that of the frozen
    network in addition.

    Source: Smith et al., CVPR 2023, https://arxiv.org/abs/2211.13218, equations 5 and 6.

    Args:
        components: M.
        length: l, rows of a component, half of them keys.
        tasks: T, which divides M.
        layers: with prefixes; None for the first five, as far as they are there.
        orthogonal: weight of the term of the loss that keeps components, keys and attentions apart; 0 in the public
            code of today.
        encoder: of ``QueryPrompter``.

    Raises:
        ValueError: an odd length, tasks that do not divide the components, fewer than one of anything; when bound,
            layers that the network does not have.
    """

    doors = frozenset({'memory'})
    of_training = QueryPrompter.of_training | {'orthogonal'}

    def __init__(
        self,
        components: int = 100,
        length: int = 8,
        tasks: int = 10,
        layers: Sequence[int] | None = None,
        orthogonal: float = 0.0,
        encoder: dict | None = None,
    ) -> None:
        super().__init__(encoder=encoder)
        self.components, self.tasks = check_whole('components', components), check_whole('tasks', tasks)
        if check_whole('length', length, least=2) % 2:
            raise ValueError(f'length={length} must be even: half of the rows are keys, half values')
        if components % tasks:
            raise ValueError(f'tasks={tasks} must divide components={components}')
        self.length, self._asked, self.orthogonal = length, layers, orthogonal

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, 'layers': list(self.layers)}

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        super().bind(geometry, reads_prompts)
        self.layers = pick_layers(range(min(5, geometry.depth)) if self._asked is None else self._asked, geometry)
        self.heads = {layer: (geometry.heads[layer], geometry.head_width(layer)) for layer in self.layers}
        number, width = self.components, geometry.widths[-1]
        inner = [heads * size for heads, size in self.heads.values()]
        self.rows = nn.ParameterList(_orthogonal(number, self.length * size) for size in inner)
        self.keys = nn.ParameterList(_orthogonal(number, width) for _ in self.layers)
        self.attentions = nn.ParameterList(_orthogonal(number, width) for _ in self.layers)

    @torch.no_grad()
    def begin_task(self, task: int) -> None:
        """The components of the task are made orthogonal to the older ones, which no longer train."""
        if not 0 <= task < self.tasks:
            raise ValueError(f'task {task} is out of range: CODAPrompt has components for {self.tasks} tasks')
        super().begin_task(task)
        first, last = self._share(task)
        for parameter in (*self.rows, *self.keys, *self.attentions):
            for index in range(first, last):
                _make_orthogonal(parameter, index)

    def _share(self, task: int) -> tuple[int, int]:
        share = self.components // self.tasks
        return task * share, (task + 1) * share

    def _begun(self, parameter: Tensor) -> Tensor:
        """The components of the tasks that have begun, of which those of the latest one train."""
        if self.task is None:
            return parameter
        first, last = self._share(self.task)
        return torch.cat([parameter[:first].detach(), parameter[first:last]])

    def look(self, image: Tensor, tokens: Tensor, query: Tensor | None = None) -> Tensor:
        return self.query(image, query)

    def memory(self, tokens: Tensor, at: At) -> KeyValue | None:
        if at.layer not in self.layers:
            return None
        index = self.layers.index(at.layer)
        rows, keys, attentions = (
            self._begun(parameters[index]) for parameters in (self.rows, self.keys, self.attentions)
        )
        near = F.cosine_similarity(at.seen[:, None] * attentions, keys, dim=-1)  # (B, M)
        heads, size = self.heads[at.layer]
        prefix = (near @ rows).unflatten(1, (2, self.length // 2, heads, size))
        key, value = prefix.transpose(2, 3).unbind(1)
        return KeyValue(key, value)

    def loss(self) -> Mapping[str, Tensor]:
        if not self.orthogonal:
            return {}
        terms = [_overlap(self._begun(p)) for p in (*self.rows, *self.keys, *self.attentions)]
        return {'orthogonal': self.orthogonal * torch.stack(terms).sum()}


def _orthogonal(number: int, width: int) -> Tensor:
    return nn.init.orthogonal_(torch.empty(number, width))


def _make_orthogonal(rows: Tensor, index: int) -> None:
    """Row ``index`` without what it has of those before it, as long as it was; as it was, if they span all."""
    if index == 0 or index >= rows.shape[1]:
        return
    row, before = rows[index], torch.linalg.qr(rows[:index].T).Q
    left = row - before @ (before.T @ row)
    rows[index] = left * (row.norm() / left.norm())


def _overlap(rows: Tensor) -> Tensor:
    """How far (M, D) is from orthonormal rows."""
    return (rows @ rows.T - torch.eye(len(rows), device=rows.device, dtype=rows.dtype)).square().mean()
