"""Whether images are the same in every epoch: seen from the state of the random generators."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor
from torch.utils.data import Dataset

__all__ = ['Deterministic', 'NotFrozenError', 'generator_states', 'restored_generators']


class NotFrozenError(ValueError):
    """Features that cannot be kept, as images or network differ from pass to pass; the message says which."""


def generator_states() -> tuple:
    """The state of every generator that a transform or a layer draws from."""
    numpy = np.random.get_state(legacy=True)
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    states = [numpy[1], *(state.numpy() for state in (torch.get_rng_state(), *devices))]
    return random.getstate(), numpy[2:], *(np.asarray(state).tobytes() for state in states)


@contextmanager
def restored_generators() -> Iterator[None]:
    """Put the generators back as they were: a run draws what it would have drawn."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


class Deterministic(Dataset):
    """A data set whose items are not drawn at random, or else it says so.

    Args:
        dataset: any with a length and items, ``dict(inputs=image, data_samples=sample)``.

    Raises:
        NotFrozenError: an item that is drawn at random, or is no single image.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        before = generator_states()
        item = self.dataset[index]
        if generator_states() != before:
            raise NotFrozenError(
                f'the images are augmented at random ({self._who_draws(index)} of {type(self.dataset).__name__}), and '
                'are others in every epoch'
            )
        kinds = [type(item.get(name)) for name in ('inputs', 'data_samples')] if isinstance(item, dict) else []
        if not kinds or not issubclass(kinds[0], Tensor) or not issubclass(kinds[1], BaseDataElement):
            raise NotFrozenError(f'an item of {type(self.dataset).__name__} is not one image with one data sample')
        return item

    def _who_draws(self, index: int) -> str:
        pipeline = getattr(self.dataset, 'pipeline', None)
        transforms, heard = getattr(pipeline, 'transforms', []), []

        def listen(transform: Callable) -> Callable:
            def call(data: dict) -> Any:
                before = generator_states()
                data = transform(data)
                heard.extend([type(transform).__name__] * (generator_states() != before))
                return data

            return call

        if transforms:
            pipeline.transforms = [listen(transform) for transform in transforms]
            try:
                self.dataset[index]
            finally:
                pipeline.transforms = transforms
        return ', '.join(dict.fromkeys(heard)) or 'something'
