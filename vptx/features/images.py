"""Features in the place of images: a data set that gives them, and a network that takes them."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.data import Dataset

from vptx.features.deterministic import NotFrozenError
from vptx.features.store import DTYPES, Features
from vptx.prompted import PromptedNetwork, State, parts_of

__all__ = ['FEATURES_KEY', 'CachedImages', 'FrozenOutput', 'sample_to_json', 'take_features']

FEATURES_KEY = 'features'  # name under which a sample carries its features


class FrozenOutput(NamedTuple):
    """What the frozen part of a network made of images.

    Attributes:
        value: the output of the network (B, ...), a tensor or a tuple; or the state before the first layer that trains,
            without the images.
    """

    value: State | Tensor | tuple[Tensor, ...]

    @classmethod
    def of(cls, network: PromptedNetwork, image: Tensor, layer: int | None) -> 'FrozenOutput':
        """(B, 3, H, W) -> the state before ``layer``, or the output where it is None."""
        if layer is None:
            return cls(network.forward_unmapped(image))
        return cls(network.layers(network.embed(image), layer)._replace(image=image.new_empty(0)))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Those that have an entry for each image."""
        return (self.value.tokens,) if isinstance(self.value, State) else parts_of(self.value)

    def of_others(self, tensors: tuple[Tensor, ...]) -> 'FrozenOutput':
        """The same of other images."""
        if isinstance(self.value, State):
            return FrozenOutput(self.value._replace(tokens=tensors[0]))
        return FrozenOutput(tensors if isinstance(self.value, tuple) else tensors[0])

    def to(self, device: torch.device) -> 'FrozenOutput':
        return self.of_others(tuple(tensor.to(device) for tensor in self.tensors))


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
        output: what the features are, of any images.
    """

    def __init__(self, dataset: Any, features: Features, kind: type[BaseDataElement], output: FrozenOutput) -> None:
        self.dataset, self.features, self.kind, self.output = dataset, features, kind, output

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        """Several at once, as a loader asks for them: their rows are read in one step."""
        # A pixel, for a preprocessor of any number of channels to work on.
        return [
            dict(inputs=torch.zeros(1, 1, 1), data_samples=self._sample(index, tensors))
            for index, *tensors in zip(indices, *self.features.take(indices), strict=True)
        ]

    def _sample(self, index: int, tensors: Sequence[Tensor]) -> BaseDataElement:
        said = self.features.samples[index]
        sample = self.kind()
        for name, value in said['meta'].items():
            sample.set_field(_tuples(value), name, field_type='metainfo')
        for name, (values, dtype) in said['data'].items():
            sample.set_field(torch.tensor(values, dtype=DTYPES[dtype]), name)
        sample.set_field(self.output.of_others(tuple(tensors)), FEATURES_KEY, field_type='metainfo')
        return sample

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)


def take_features(network: PromptedNetwork, preprocessor: nn.Module) -> None:
    """Make ``network`` go on from the features that data samples carry, where they carry some.

    Args:
        network: the prompted network.
        preprocessor: what prepares its batches.
    """
    from mmpretrain.models import ClsDataPreprocessor  # not on `import vptx`: it takes seconds

    if type(preprocessor).forward is ClsDataPreprocessor.forward:  # another one may not take images in one tensor
        preprocessor.register_forward_pre_hook(_stack_pixels)
    preprocessor.register_forward_hook(_insert_features)
    # A partial of a method, not a closure: a copy of the network calls the copy's own.
    setattr(network, 'forward_unmapped', partial(_go_on, network, network.forward_unmapped))  # noqa: B010


def _stack_pixels(preprocessor: nn.Module, inputs: tuple) -> tuple | None:
    """Before the preprocessor: one tensor of the pixels that stand for images, which it need not take one by one."""
    if not inputs or not _carries_features(inputs[0]):
        return None
    batch, *others = inputs
    return (dict(batch, inputs=torch.stack(tuple(batch['inputs']))), *others)


def _carries_features(batch: Any) -> bool:
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    return bool(samples) and FEATURES_KEY in samples[0]


def _insert_features(preprocessor: nn.Module, inputs: tuple, batch: dict) -> dict | None:
    """After the preprocessor: the features that the samples carry, in the place of their images."""
    if not _carries_features(batch):
        return None
    carried = [sample.pop(FEATURES_KEY) for sample in batch['data_samples']]
    stacked = tuple(torch.stack(tensors) for tensors in zip(*(output.tensors for output in carried), strict=True))
    return dict(batch, inputs=carried[0].of_others(stacked).to(batch['inputs'].device))


def _go_on(network: PromptedNetwork, forward: Any, inputs: FrozenOutput | Tensor, note: Any = None) -> Any:
    """``forward``, for images; the rest of it, for what the frozen part made of them."""
    if not isinstance(inputs, FrozenOutput):
        return forward(inputs, note)
    value = inputs.value
    return network.read(network.layers(value)) if isinstance(value, State) else value
