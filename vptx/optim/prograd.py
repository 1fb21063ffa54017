"""Steps that do not undo what is known: Zhu et al., "Prompt-aligned Gradient for Prompt Tuning" (ProGrad), ICCV 2023,
https://arxiv.org/abs/2205.14865

    g <- g - a * min(g.k, 0) / |k|^2 * k

g is the gradient of the task's loss and k that of what guides it: in the paper, the divergence from zero-shot CLIP.
Where they agree, g stays; where not, its part against k is taken out, all of it if a = 1. What trains is one vector.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from vptx.registry import OPTIM_WRAPPERS
from vptx.trainable import unwrap_model

__all__ = ['ProGradOptimWrapper', 'project_gradients']

#: What the names of terms begin with that a prompter and a label mapping add to the losses of a model.
GUIDES = ('prompter.loss_', 'mapping.loss_')


@torch.no_grad()
def project_gradients(gradients: list[Tensor], guides: list[Tensor], strength: float = 1.0) -> None:
    """g <- g - strength * min(g.k, 0) / |k|^2 * k, in place, of all tensors as one vector."""
    along = sum((g.double() * k.double()).sum() for g, k in zip(gradients, guides, strict=True))
    length = sum(k.double().square().sum() for k in guides)
    against = torch.as_tensor(along).clamp(max=0)
    factor = torch.where(against < 0, against / length, 0.0) * strength
    for gradient, guide in zip(gradients, guides, strict=True):
        gradient.sub_((factor * guide).to(gradient.dtype))


@OPTIM_WRAPPERS.register_module()
class ProGradOptimWrapper(OptimWrapper):
    """Trains with the loss of the head, and lets no step make the terms worse that prompter and label mapping add.

        optim_wrapper=dict(type='ProGradOptimWrapper', optimizer=dict(type='SGD', lr=0.002))
        mapping=dict(type='TextHead', pulls=[dict(type='LogitPull')], ...)

    Another OptimWrapper adds these terms to the loss instead.

    Source: Zhu et al., ICCV 2023, https://arxiv.org/abs/2205.14865.

    Args:
        strength: a, from 0 to 1.
        *arguments, **options: of MMEngine's OptimWrapper.

    Raises:
        ValueError: a strength out of range, gradients of several batches; in the first step, no term that guides.
    """

    def __init__(self, *arguments: Any, strength: float = 1.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if not 0 <= strength <= 1:
            raise ValueError(f'strength must be from 0 to 1, not {strength!r}')
        if self._accumulative_counts != 1:
            raise ValueError('ProGradOptimWrapper takes a step for each batch: leave accumulative_counts out')
        self.strength = strength

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        inner: Any = unwrap_model(model)

        # Of guides, what the model gives; of the task's losses, what DistributedDataParallel makes of it: a backward
        # pass through that exchanges gradients, and one is to do so.
        def take_guides(module: nn.Module, inputs: tuple, losses: Any) -> None:
            guides = {name: loss for name, loss in losses.items() if name.startswith(GUIDES)}
            if not guides:
                raise ValueError(
                    'ProGradOptimWrapper projects gradients onto those of the terms that prompter and label mapping '
                    "add to the loss, and there are none: mapping=dict(type='TextHead', pulls=[dict("
                    "type='LogitPull')], ...)"
                )
            self._guide = inner.parse_losses(guides)[0]

        def take_task(module: nn.Module, inputs: tuple, losses: Any) -> None:
            rest = {name: loss for name, loss in losses.items() if not name.startswith(GUIDES)}
            self._task = inner.parse_losses(rest)[0]

        handles = inner.register_forward_hook(take_guides), model.register_forward_hook(take_task)
        try:
            with super().optim_context(model):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        trained = [p for group in self.optimizer.param_groups for p in group['params'] if p.requires_grad]
        found = torch.autograd.grad(self._guide, trained, retain_graph=True, allow_unused=True)
        self._guides = [torch.zeros_like(p) if k is None else k for p, k in zip(trained, found, strict=True)]
        for guide in self._guides:
            all_reduce(guide, op='mean')
        task = self._task
        del self._guide, self._task
        super().update_params(task, step_kwargs, zero_kwargs)

    def step(self, **options: Any) -> None:
        trained = [p for group in self.optimizer.param_groups for p in group['params'] if p.requires_grad]
        pairs = [(p.grad, k) for p, k in zip(trained, self._guides, strict=True) if p.grad is not None]
        project_gradients([g for g, _ in pairs], [k for _, k in pairs], self.strength)
        super().step(**options)
