"""Randomness that depends on where a run is, not on how it got there."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner, set_random_seed
from torch.utils.data import get_worker_info

from vptx.registry import HOOKS

__all__ = ['RandomStreamsHook']

DATA, MODEL = 0, 1  # kinds of streams


def start_stream(seed: int, step: int, kind: int = MODEL) -> int:
    """Set this process's generators to the stream of a step; returns the seed of the stream."""
    seed = (seed + 1_000_003 * (2 * step + kind)) % 2**31
    set_random_seed(seed)
    return seed


class Collate:
    """Collates a batch in a loader's worker, then starts the stream of the worker's next one.

    Args:
        collate: what makes a batch of samples.
        seed: of the run and rank.
        first: the iteration whose batch comes first.
    """

    def __init__(self, collate: Callable[[Sequence], Any], seed: int, first: int) -> None:
        self.collate = collate
        self.seed = seed
        self.first = first
        self.done = 0

    def start(self, worker: int) -> None:
        """``worker_init_fn`` of the loader: worker w makes the batches w, w + W, w + 2 W, ..."""
        start_stream(self.seed, self.first + worker, DATA)

    def __call__(self, samples: Sequence) -> Any:
        batch = self.collate(samples)
        worker = get_worker_info()
        if worker is not None:
            self.done += 1
            start_stream(self.seed, self.first + self.done * worker.num_workers + worker.id, DATA)
        return batch


@HOOKS.register_module()
class RandomStreamsHook(Hook):
    """Draws the randomness of every epoch, or of every iteration where a loop counts those, from a stream of its own,
    in this process and in the loader's workers: a resumed run draws the same numbers as one that was never stopped, if
    it has as many processes, and validation in between changes nothing.

    ``PromptTuningHook`` registers it.

    Note:
        Comes before all hooks that draw random numbers.
    """

    priority = 'HIGHEST'

    def before_run(self, runner: Runner) -> None:
        self._first_seed = runner.seed

    def before_train(self, runner: Runner) -> None:
        # A resumed run goes on with the seed of the first one; where none was configured, its sampler drew another.
        sampler = runner.train_dataloader.sampler
        if getattr(sampler, 'seed', None) == self._first_seed:
            sampler.seed = runner.seed
        ranks_differ = runner._randomness_cfg.get('diff_rank_seed', False)
        self._seed = runner.seed + (get_rank() if ranks_differ else 0)
        self._by_iter = isinstance(runner.train_loop, IterBasedTrainLoop)

    def before_train_epoch(self, runner: Runner) -> None:
        loader = runner.train_dataloader
        if self._by_iter:
            loader.collate_fn = Collate(loader.collate_fn, runner.seed + get_rank(), runner.iter)
            loader.worker_init_fn = loader.collate_fn.start
            start_stream(self._seed, runner.iter, DATA)
            return
        seed = start_stream(self._seed, runner.epoch)
        if loader.num_workers > 0 and isinstance(loader.worker_init_fn, partial):
            loader.worker_init_fn = partial(loader.worker_init_fn, seed=seed)
            loader._iterator = None  # persistent workers would go on with the streams of the last epoch

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        if self._by_iter:
            start_stream(self._seed, runner.iter)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        if self._by_iter:  # a loader without workers makes the next batch in this process
            start_stream(self._seed, runner.iter + 1, DATA)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if getattr(self, '_by_iter', False):
            start_stream(self._seed, runner.iter, DATA)
