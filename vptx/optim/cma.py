"""Learning from forward calls alone by a covariance matrix, as FOA does at test time.

Niu et al., "Test-Time Model Adaptation with Only Forward Passes", ICML 2024, https://arxiv.org/abs/2404.01650, by
CMA-ES, Hansen, "The CMA Evolution Strategy: A Tutorial", https://arxiv.org/abs/1604.00772, from the package ``cmaes``.
On each batch a population is drawn and judged by the loss of the batch,

    w_i ~ N(m, sigma^2 C),    i = 1 ... n,

with the best one of the batch before among it; m, sigma and C follow those with the lowest losses, and the model goes
on with the best. FOA has 3 prompt tokens (``ShallowPrompter(3)``), n = 28 on batches of 64, and a loss that needs no
labels: that is ``vptx.foa``. In a training it is whatever loss the model has.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.optim import OptimWrapper
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from vptx.registry import OPTIM_WRAPPERS
from vptx.trainable import unwrap_model

__all__ = ['CMAOptimWrapper', 'Population']

LARGEST = 20_000  # numbers, whose covariance matrix is 1.6 GB


class Population:
    """Draws numbers for parameters, and follows those with the lowest losses.

    Args:
        parameters: that are searched.
        sigma: standard deviation of the first population.
        size: n.
        seed: of what is drawn.
        start: the mean of the first population; None for what the parameters are.

    Raises:
        ValueError: options out of range, or more numbers than a covariance matrix can hold.
        ImportError: the package ``cmaes`` is not installed.
    """

    def __init__(
        self, parameters: Sequence[Tensor], sigma: float, size: int, seed: int = 0, start: np.ndarray | None = None
    ) -> None:
        check(sigma, size)
        try:
            from cmaes import CMA
        except ImportError as error:
            raise ImportError("covariance matrices adapt by the package cmaes: pip install 'vptx[cma]'") from error
        self.parameters, self.size, self.seed = parameters, size, seed
        values = parameters_to_vector(parameters).detach().cpu().double().numpy()
        if not 2 <= len(values) <= LARGEST:
            raise ValueError(
                f'{len(values):,} numbers train, and a covariance matrix is for 2 to {LARGEST:,}: FOA has 3 prompts, '
                "dict(type='ShallowPrompter', num_tokens=3), and tune=[]"
            )
        self.search = CMA(mean=values if start is None else start, sigma=sigma, population_size=size, seed=seed)
        self.best: np.ndarray | None = None

    @torch.no_grad()
    def step(self, loss: Callable[[], float]) -> None:
        """Draw n, ask for the loss of each while it is in its place, and leave the best there.

        Raises:
            FloatingPointError: a loss that is not finite.
        """
        found = []
        self.search.reseed_rng(self.seed + self.search.generation)  # so that a resumed run draws the same
        for index in range(self.size):
            drawn = self.best if index == 0 and self.best is not None else self.search.ask()
            self.put(drawn)
            found.append((drawn, loss()))
        if not all(np.isfinite(value) for _, value in found):
            raise FloatingPointError('a loss of the population is not finite: a smaller sigma may help')
        self.search.tell(found)
        self.best = min(found, key=lambda pair: pair[1])[0]
        self.put(self.best)

    def put(self, numbers: np.ndarray) -> None:
        like = self.parameters[0]
        vector_to_parameters(torch.from_numpy(numbers).to(like.device, like.dtype), self.parameters)


def check(sigma: float, size: int) -> None:
    if sigma <= 0 or not isinstance(size, int) or size < 4:
        raise ValueError(f'sigma must be positive and population at least 4, not {sigma!r} and {size!r}')


@OPTIM_WRAPPERS.register_module()
class CMAOptimWrapper(OptimWrapper):
    """Sets what trains to the best of a population, drawn for each batch; no backward pass is ever run.

    A step calls the model 1 + population times: once for the loss that is logged. All ranks draw alike. The optimizer
    keeps the parameters; its learning rate is not used.

    Source: Niu et al. (FOA), ICML 2024, https://arxiv.org/abs/2404.01650; Hansen, 2016,
    https://arxiv.org/abs/1604.00772.

    Args:
        sigma: standard deviation of the first population.
        population: n.
        seed: of what is drawn.
        *arguments, **options: of MMEngine's OptimWrapper.

    Attributes:
        needs_backward: False; read by ``GuardHook``.

    Raises:
        ValueError: options out of range; with the first batch, more numbers that train than a covariance matrix can
            hold.
        ImportError: with the first batch, the package ``cmaes`` is not installed.
    """

    needs_backward = False

    def __init__(self, *arguments, sigma: float = 0.1, population: int = 28, seed: int = 0, **options) -> None:
        super().__init__(*arguments, **options)
        check(sigma, population)
        self.sigma, self.population, self.seed = sigma, population, seed
        self._drawn: Population | None = None

    def _begin(self) -> Population:
        """With the first batch: only then is it known what trains."""
        if self._drawn is None:
            trained = [p for group in self.optimizer.param_groups for p in group['params'] if p.requires_grad]
            self._drawn = Population(trained, self.sigma, self.population, self.seed)
        return self._drawn

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

    def update_params(self, loss: Tensor, step_kwargs: dict | None = None, zero_kwargs: dict | None = None) -> None:
        self._begin().step(self._loss)
        self._inner_count += 1

    def _loss(self) -> float:
        """Of the batch on all ranks."""
        module, args, kwargs = self._call
        devices = {parameter.get_device() for parameter in self._begin().parameters if parameter.is_cuda}
        with torch.random.fork_rng(devices):  # all candidates draw the same dropout masks
            losses = module(*args, **kwargs)
        bare: Any = unwrap_model(module)
        loss = bare.parse_losses(losses)[0]
        all_reduce(loss, op='mean')
        return float(loss)

    def state_dict(self) -> dict:
        if self._drawn is None:
            return {**super().state_dict(), 'cma': None, 'cma_best': None}
        best = None if self._drawn.best is None else torch.from_numpy(self._drawn.best)
        # All of it but the generator, which each step seeds; its own pickle halves the matrix, and so rounds it.
        search = {name: _as_tensor(value) for name, value in vars(self._drawn.search).items() if name != '_rng'}
        return {**super().state_dict(), 'cma': search, 'cma_best': best}

    def load_state_dict(self, state_dict: dict) -> None:
        own = dict(state_dict)
        search, best = own.pop('cma'), own.pop('cma_best')
        super().load_state_dict(own)
        if search is None:
            return
        drawn = self._begin()
        for name, value in search.items():
            setattr(drawn.search, name, value.cpu().numpy() if isinstance(value, Tensor) else value)
        drawn.best = None if best is None else best.cpu().numpy()


def _as_tensor(value: Any) -> Any:
    """Arrays as tensors, and numbers as Python's, which a checkpoint holds without pickled objects."""
    if isinstance(value, np.ndarray):  # some of it is not yet written, and may be anything
        return torch.from_numpy(np.nan_to_num(value))
    return value.item() if isinstance(value, np.generic) else value
