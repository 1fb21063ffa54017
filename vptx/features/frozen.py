"""The frozen part of a model: how far it reaches, what it depends on, and what it makes of images."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vptx.attach import find_prompted_network
from vptx.features.deterministic import Deterministic, NotFrozenError, generator_states
from vptx.features.images import FrozenOutput, sample_to_json
from vptx.features.store import Features
from vptx.files import digest
from vptx.prompted import PromptedNetwork
from vptx.prompters.base import Prompter
from vptx.trainable import trained_names

__all__ = ['FrozenPart']

FORMAT = 1
BATCH = 64  # images at once, at most


class FrozenPart:
    """The part of a model that stays as it is, as a loop runs it.

    Args:
        model: the model.
        loader: of the loop.
        training: whether the loop trains.
        precision: the context in which it computes.
    """

    def __init__(
        self, model: nn.Module, loader: DataLoader, training: bool, precision: Callable[[], AbstractContextManager]
    ) -> None:
        self.model, self.loader, self.training, self.precision = model, loader, training, precision
        prompted = find_prompted_network(model)
        if prompted is None or not isinstance(getattr(model, 'backbone', None), PromptedNetwork):
            raise NotFrozenError(f'{type(model).__name__} has no prompted backbone: PromptTuningHook makes one')
        self.network: PromptedNetwork = prompted
        self.data = Deterministic(loader.dataset)
        with self._running(False):  # what is tuned, such as batch statistics, does not see these images
            self.layer = self._find_layer()
            one = torch.ones(1, 1, device=next(self.network.parameters()).device)
            self.dtype, self.device = (one @ one).dtype, one.device.type

    @contextmanager
    def _running(self, training: bool) -> Iterator[None]:
        before = self.network.training
        self.network.train(training)
        try:
            with self.precision():
                yield
        finally:
            self.network.train(before)

    def _find_layer(self) -> int | None:
        try:
            return self.network.frozen_until(self._images([self.data[0]]))
        except NotFrozenError:
            raise
        except ValueError as error:
            raise NotFrozenError(str(error)) from error

    def _images(self, items: list[dict]) -> Tensor:
        return self._preprocess(self.loader.collate_fn(items))

    def _preprocess(self, batch: dict) -> Tensor:
        before = generator_states()
        images = self.model.data_preprocessor(batch, self.training)['inputs']
        if generator_states() != before:
            raise NotFrozenError('the data_preprocessor augments batches at random')
        return images

    @torch.no_grad()
    def _compute(self, images: Tensor) -> FrozenOutput:
        before = generator_states()
        output = FrozenOutput.of(self.network, images, self.layer)
        if generator_states() != before:
            raise NotFrozenError('the frozen part of the network draws at random (dropout, drop path)')
        if not all(isinstance(tensor, Tensor) and len(tensor) == len(images) for tensor in output.tensors):
            raise NotFrozenError(f'{self.network.net.geometry.name} gives more than tensors, an image each')
        return output

    def spot_check(self, number: int) -> tuple[list[int], FrozenOutput, type[BaseDataElement]]:
        """What it makes now of so many images, first and last among them; their indices, and the kind of samples."""
        indices = sorted({round(i) for i in np.linspace(0, len(self.data) - 1, number)})
        items = [self.data[index] for index in indices]
        with self._running(self.training):
            return indices, self._compute(self._images(items)), type(items[0]['data_samples'])

    def agrees(self, features: Features, indices: Sequence[int], output: FrozenOutput) -> bool:
        """Whether kept features are what it makes of these images, to half of the digits."""
        tolerance = max(torch.finfo(self.dtype).eps ** 0.5, 1e-2 if self.device == 'cuda' else 0)  # there TF32 may be
        for place, index in enumerate(indices):
            kept, now = features[index], [tensor[place].detach().cpu() for tensor in output.tensors]
            if [(t.shape, t.dtype) for t in kept] != [(t.shape, t.dtype) for t in now]:
                return False
            for pair in zip(kept, now):
                stored, computed = (torch.nan_to_num(tensor.double()) for tensor in pair)
                if (stored - computed).norm() > tolerance * computed.norm():
                    return False
        return True

    def same_labels(self, features: Features) -> bool:
        """Whether kept samples have the labels of the data set, as far as it gives them without its images."""
        info: Any = getattr(self.data.dataset, 'get_data_info', None)
        for index, sample in enumerate(features.samples if info else ()):
            label, kept = info(index).get('gt_label'), sample['data'].get('gt_label')
            if label is not None and kept is not None and np.ravel(label).tolist() != np.ravel(kept[0]).tolist():
                return False
        return True

    def compute(self) -> Iterator[tuple[tuple[Tensor, ...], list[dict]]]:
        """Of all images, batch by batch."""
        loader = DataLoader(
            self.data,
            min(self.loader.batch_size or BATCH, BATCH),
            num_workers=self.loader.num_workers,
            collate_fn=self.loader.collate_fn,
        )
        with self._running(self.training):
            for batch in loader:
                samples = [sample_to_json(sample) for sample in batch['data_samples']]
                yield self._compute(self._preprocess(batch)).tensors, samples

    def about(self, config: Any, split: str) -> dict[str, Any]:
        """All that the features depend on."""
        prompted, data = self.network, self.data.dataset
        loader = config.get(f'{split}_dataloader')
        if not isinstance(loader, dict) or not isinstance(loader.get('dataset'), dict):
            raise NotFrozenError(f'it is unknown what data {split} on: make the Runner by from_cfg')
        trained = set(trained_names(prompted))
        parts = (prompted.net, prompted.prompter, prompted.map_norms, self.model.data_preprocessor)
        tensors = [
            (f'{number}.{name}', tensor)
            for number, (part, prefix) in enumerate(zip(parts, ('net.', 'prompter.', 'map_norms.', '-')))
            for name, tensor in [*part.named_parameters(), *part.named_buffers()]
            if not tensor.requires_grad and f'{prefix}{name}' not in trained
        ]
        model = config.model
        configured = [entry.get('prompter') for entry in config.get('custom_hooks', []) if 'prompter' in entry]
        said = dict(
            backbone=model.get('backbone'),
            preprocessor=model.get('data_preprocessor') or config.get('data_preprocessor'),
            # Beyond its own weights: before a layer, a prompter has not begun.
            prompter=configured if self.layer is None and type(prompted.prompter) is not Prompter else None,
            dataset=loader['dataset'],
        )
        return dict(
            format=FORMAT,
            network=prompted.net.geometry.name,
            layer=self.layer,
            readout=str(prompted.readout),
            weights=digest(tensors),
            training=self.training,
            precision=f'{self.dtype} {torch.get_float32_matmul_precision()} {self.device}',
            data=f'{type(data).__module__}.{type(data).__qualname__}',
            images=len(data),
            items=_digest_items(data),
            config=json.loads(json.dumps(said, default=str)),
            versions={name: _version(name) for name in ('vptx', 'torch', 'timm', 'mmpretrain', 'onedl-mmpretrain')},
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ''


def _digest_items(dataset: Any) -> str:
    """Of what a data set says of its items: pixels that it holds included, and files that it names by size and time."""
    if not hasattr(dataset, 'get_data_info'):
        raise NotFrozenError(f'{type(dataset).__name__} does not tell what its items are (get_data_info)')
    found = sha256()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for name in sorted(value, key=str):
                found.update(f'{name}:'.encode())
                add(value[name])
        elif isinstance(value, (list, tuple)):
            for part in value:
                add(part)
        elif isinstance(value, (np.ndarray, Tensor)):
            values = np.asarray(value)
            found.update(f'{values.shape} {values.dtype}'.encode())
            found.update(values.tobytes())
        else:
            found.update(f'{value!r};'.encode())
            if isinstance(value, (str, Path)) and os.path.isfile(value):
                stat = os.stat(value)
                found.update(f'{stat.st_size} {stat.st_mtime_ns};'.encode())

    for index in range(len(dataset)):
        add(dataset.get_data_info(index))
    return found.hexdigest()[:16]
