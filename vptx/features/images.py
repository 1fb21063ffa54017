"""A data set that gives kept features in place of its images."""

from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.data import Dataset

from vptx.features.deterministic import NotFrozenError
from vptx.features.store import DTYPES, Features
from vptx.prompted import PartialForward

__all__ = ['FEATURES_KEY', 'CachedImages', 'insert_features', 'sample_to_json']

FEATURES_KEY = 'known'  # name under which a sample carries its features


def _plain(value: Any, name: str) -> Any:
    """As JSON keeps it; lists come back as tuples."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (tuple, list)):
        return [_plain(part, name) for part in value]
    raise NotFrozenError(f'a data sample has a {type(value).__name__}, {name}, which is not kept with its features')


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def sample_to_json(sample: BaseDataElement) -> dict[str, Any]:
    """A data sample as plain JSON types."""
    data = {}
    for name, value in sample.items():
        if not isinstance(value, Tensor):
            raise NotFrozenError(
                f'a data sample has a {type(value).__name__}, {name}, which is not kept with its features'
            )
        data[name] = [value.tolist(), str(value.dtype).removeprefix('torch.')]
    return dict(data=data, meta={name: _plain(value, name) for name, value in sample.metainfo_items()})


class CachedImages(Dataset):
    """A data set whose images a network has seen: items have features in the place of pixels, and all else.

    Args:
        dataset: the data set.
        features: of its images, in their order.
        kind: of its data samples.
        partial: what the features are, of any images.
    """

    def __init__(self, dataset: Any, features: Features, kind: type[BaseDataElement], partial: PartialForward) -> None:
        self.dataset, self.features, self.kind, self.partial = dataset, features, kind, partial

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict:
        said = self.features.samples[index]
        sample = self.kind(metainfo={name: _tuples(value) for name, value in said['meta'].items()})
        for name, (values, dtype) in said['data'].items():
            sample.set_field(torch.tensor(values, dtype=DTYPES[dtype]), name)
        sample.set_field(self.partial.holding(self.features[index]), FEATURES_KEY, field_type='metainfo')
        return dict(
            inputs=torch.zeros(1, 1, 1), data_samples=sample
        )  # a pixel, for a preprocessor of any channels to work on

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)


def insert_features(preprocessor: nn.Module, inputs: tuple, batch: dict) -> dict | None:
    """Behind the preprocessor: the features that the samples carry, in the place of their images."""
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if not samples or FEATURES_KEY not in samples[0]:
        return None
    carried = [sample.pop(FEATURES_KEY) for sample in samples]
    stacked = tuple(torch.stack(tensors) for tensors in zip(*(partial.tensors for partial in carried), strict=True))
    return dict(batch, inputs=carried[0].holding(stacked).to(batch['inputs'].device))
