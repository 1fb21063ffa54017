"""Learning from forward calls alone: simultaneous perturbation with gradient correction, SPSA-GC.

Oh et al., "BlackVIP: Black-Box Visual Prompting for Robust Transfer Learning", CVPR 2023,
https://arxiv.org/abs/2303.14773, after Spall 1992. In step k = 0, 1, ..., with D drawn from [-1, -0.5] and [0.5, 1],

    g = (L(w + c_k D) - L(w - c_k D)) / (2 c_k) * 1 / D,    c_k = c / (k + 1)^gamma, averaged over some D
    m <- beta m + g,    w <- w - a_k (g + beta m),          a_k = a / (k + o)^alpha

The second line is PyTorch's ``SGD(momentum=beta, nesterov=True)`` with a learning rate of ``InversePowerLR``, so
all that is new is where a gradient comes from. The public code counts from k = 1: its o = 1 is an ``offset`` of 2 here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce, broadcast
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS
from torch import Tensor, nn

from vptx.registry import OPTIM_WRAPPERS
from vptx.trainable import unwrap_model


@OPTIM_WRAPPERS.register_module()
class SPSAOptimWrapper(OptimWrapper):
    """Estimates gradients from the loss of the batch at perturbed parameters; no backward pass is ever run.

    A step calls the model 1 + 2 * samples times: once for the loss that is logged. All ranks perturb alike.

    Source: Oh et al. (BlackVIP), CVPR 2023, https://arxiv.org/abs/2303.14773.

    Args:
        c: how far parameters are perturbed in the first step.
        gamma: how fast that shrinks.
        samples: how many perturbations an estimate averages over.
        *arguments, **options: of MMEngine's OptimWrapper.

    Attributes:
        needs_backward: False; read by ``GuardHook``.
    """

    needs_backward = False

    def __init__(self, *arguments, c: float = 0.01, gamma: float = 0.1, samples: int = 1, **options) -> None:
        super().__init__(*arguments, **options)
        if c <= 0 or samples < 1:
            raise ValueError(f'c must be positive and samples at least 1, not {c!r} and {samples!r}')
        self.c = c
        self.gamma = gamma
        self.samples = samples
        self.steps = 0

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        def remember(module: nn.Module, args: tuple, kwargs: dict) -> None:
            self._call = module, args, kwargs

        handle = model.register_forward_pre_hook(remember, with_kwargs=True)
        try:
            with super().optim_context(model), torch.no_grad():
                yield
        finally:
            handle.remove()

    @torch.no_grad()
    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group['params'] if p.requires_grad]
        reach = self.c / (self.steps + 1) ** self.gamma
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for _ in range(self.samples):
            directions = [_draw(parameter) for parameter in parameters]
            # Both sides draw the same dropout masks and positions, so that they differ by the step alone.
            devices = {parameter.get_device() for parameter in parameters if parameter.is_cuda}
            with torch.random.fork_rng(devices):
                ahead = self._loss(parameters, directions, reach)
            slope = (ahead - self._loss(parameters, directions, -reach)) / (2 * reach)
            for parameter, direction in zip(parameters, directions):
                parameter.grad += self.scale_loss(slope) / self.samples / direction
        self.steps += 1
        self._inner_count += 1
        if self.should_update():
            self.step(**step_kwargs or {})
            self.zero_grad(**zero_kwargs or {})

    def _loss(self, parameters: list[Tensor], directions: list[Tensor], reach: float) -> Tensor:
        """Of the batch on all ranks, with the parameters moved; they are put back to the bit."""
        module, args, kwargs = self._call
        still = [parameter.clone() for parameter in parameters]
        torch._foreach_add_(parameters, directions, alpha=reach)
        losses = module(*args, **kwargs)
        torch._foreach_copy_(parameters, still)
        bare: Any = unwrap_model(module)
        loss = bare.parse_losses(losses)[0]
        all_reduce(loss, op='mean')
        return loss

    def state_dict(self) -> dict:
        return {**super().state_dict(), 'spsa_steps': self.steps}

    def load_state_dict(self, state_dict: dict) -> None:
        own = dict(state_dict)
        self.steps = own.pop('spsa_steps')
        super().load_state_dict(own)


def _draw(parameter: Tensor) -> Tensor:
    """A direction: the sign of a coin, the size of U(0.5, 1); that of the first rank for all."""
    size = 0.5 + 0.5 * torch.rand_like(parameter)
    direction = torch.where(torch.rand_like(parameter) < 0.5, -size, size)
    broadcast(direction)
    return direction


@PARAM_SCHEDULERS.register_module()
class InversePowerLR(LRSchedulerMixin, _ParamScheduler):
    """Divides the learning rate by (k + offset) ** power, k the steps since ``begin``.

    Source: Oh et al. (BlackVIP), CVPR 2023, https://arxiv.org/abs/2303.14773.

    Args:
        optimizer: or an OptimWrapper.
        power: alpha.
        offset: o, at least 1.
        *arguments, **options: ``begin``, ``end``, ``by_epoch`` and others of MMEngine's schedulers.
    """

    def __init__(self, optimizer: Any, *arguments, power: float = 0.4, offset: float = 1.0, **options) -> None:
        if offset < 1:
            raise ValueError(f'offset must be at least 1, not {offset!r}')
        self.power = power
        self.offset = offset
        super().__init__(optimizer, *arguments, **options)

    def _get_value(self) -> list[float]:
        return [base / (self.last_step + self.offset) ** self.power for base in self.base_values]
