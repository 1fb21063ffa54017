"""What a frozen network makes of an image is computed once, kept on disk, and read in every epoch of every run.

A linear probe is a network that never changes under a head that does: ten epochs of forty settings put every image
through the same numbers four hundred times. The same holds in front of the first layer that anything trained acts on,
with deep prompts in the last layers alone, or with the last layers tuned. It does not hold where the images themselves
are drawn at random. What is frozen is told by autograd, what is random by the state of the generators.
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.amp import autocast
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from vptx.attach import find_hall
from vptx.features import DTYPES, Features, read_features, write_features
from vptx.files import alone, digest
from vptx.prompted import Known, PromptedNetwork
from vptx.prompters.base import Prompter
from vptx.registry import HOOKS
from vptx.trainable import trained_names, unwrap_model

__all__ = ['FeatureCacheHook', 'NotFrozenError']

FORMAT = 1
BATCH = 64  # images at once, at most
FEW, MORE = 2, 16  # images looked at again, whenever features are taken from disk and when they have been computed
KEPT = 'known'  # name under which a sample carries its features


class NotFrozenError(ValueError):
    """Features that cannot be kept, and why."""


# ---------------------------------------------------------------------------------------------------- randomness


def _generators() -> tuple:
    """The state of every generator that a transform or a layer draws from."""
    numpy = np.random.get_state(legacy=True)
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    states = [numpy[1], *(state.numpy() for state in (torch.get_rng_state(), *devices))]
    return random.getstate(), numpy[2:], *(np.asarray(state).tobytes() for state in states)


@contextmanager
def _left_alone() -> Iterator[None]:
    """Put the generators back as they were: a run draws what it would have drawn."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


class _Steady(Dataset):
    """A data set whose items are not drawn at random, or else it says so.

    Raises:
        NotFrozenError: an item that is, or is no single image.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        before = _generators()
        item = self.dataset[index]
        if _generators() != before:
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
                before = _generators()
                data = transform(data)
                heard.extend([type(transform).__name__] * (_generators() != before))
                return data

            return call

        if transforms:
            pipeline.transforms = [listen(transform) for transform in transforms]
            try:
                self.dataset[index]
            finally:
                pipeline.transforms = transforms
        return ', '.join(dict.fromkeys(heard)) or 'something'


# -------------------------------------------------------------------------------------------------- data samples


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


def _describe(sample: BaseDataElement) -> dict[str, Any]:
    """A data sample as plain JSON types."""
    data = {}
    for name, value in sample.items():
        if not isinstance(value, Tensor):
            raise NotFrozenError(
                f'a data sample has a {type(value).__name__}, {name}, which is not kept with its features'
            )
        data[name] = [value.tolist(), str(value.dtype).removeprefix('torch.')]
    return dict(data=data, meta={name: _plain(value, name) for name, value in sample.metainfo_items()})


class KnownImages(Dataset):
    """A data set whose images a network has seen: items have features in the place of pixels, and all else.

    Args:
        dataset: the data set.
        features: of its images, in their order.
        kind: of its data samples.
        known: what the features are, of any images.
    """

    def __init__(self, dataset: Any, features: Features, kind: type[BaseDataElement], known: Known) -> None:
        self.dataset, self.features, self.kind, self.known = dataset, features, kind, known

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> dict:
        said = self.features.samples[index]
        sample = self.kind(metainfo={name: _tuples(value) for name, value in said['meta'].items()})
        for name, (values, dtype) in said['data'].items():
            sample.set_field(torch.tensor(values, dtype=DTYPES[dtype]), name)
        sample.set_field(self.known.holding(self.features[index]), KEPT, field_type='metainfo')
        return dict(inputs=torch.zeros(3, 1, 1), data_samples=sample)  # a pixel, for the preprocessor to do its work on

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)


def _hand_over(preprocessor: nn.Module, inputs: tuple, batch: dict) -> dict | None:
    """Behind the preprocessor: the features that the samples carry, in the place of their images."""
    samples = batch.get('data_samples') if isinstance(batch, dict) else None
    if not samples or KEPT not in samples[0]:
        return None
    carried = [sample.pop(KEPT) for sample in samples]
    stacked = tuple(torch.stack(tensors) for tensors in zip(*(known.tensors for known in carried), strict=True))
    return dict(batch, inputs=carried[0].holding(stacked).to(batch['inputs'].device))


# ------------------------------------------------------------------------------------------- what is frozen, its key


class _Frozen:
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
        hall = find_hall(model)
        if hall is None or not isinstance(getattr(model, 'backbone', None), PromptedNetwork):
            raise NotFrozenError(f'{type(model).__name__} has no prompted backbone: PromptTuningHook makes one')
        self.hall: PromptedNetwork = hall
        self.data = _Steady(loader.dataset)
        with self._running(False):  # what is tuned, such as batch statistics, does not see these images
            self.layer = self._find_layer()
            one = torch.ones(1, 1, device=next(self.hall.parameters()).device)
            self.dtype, self.device = (one @ one).dtype, one.device.type

    @contextmanager
    def _running(self, training: bool) -> Iterator[None]:
        before = self.hall.training
        self.hall.train(training)
        try:
            with self.precision():
                yield
        finally:
            self.hall.train(before)

    def _find_layer(self) -> int | None:
        try:
            return self.hall.frozen_until(self._images([self.data[0]]))
        except NotFrozenError:
            raise
        except ValueError as error:
            raise NotFrozenError(str(error)) from error

    def _images(self, items: list[dict]) -> Tensor:
        return self._preprocess(self.loader.collate_fn(items))

    def _preprocess(self, batch: dict) -> Tensor:
        before = _generators()
        images = self.model.data_preprocessor(batch, self.training)['inputs']
        if _generators() != before:
            raise NotFrozenError('the data_preprocessor augments batches at random')
        return images

    @torch.no_grad()
    def _see(self, images: Tensor) -> Known:
        before = _generators()
        known = self.hall.begin(images, self.layer)
        if _generators() != before:
            raise NotFrozenError('the frozen part of the network draws at random (dropout, drop path)')
        if not all(isinstance(tensor, Tensor) and len(tensor) == len(images) for tensor in known.tensors):
            raise NotFrozenError(f'{self.hall.net.geometry.name} gives more than tensors, an image each')
        return known

    def look(self, number: int) -> tuple[list[int], Known, type[BaseDataElement]]:
        """What it makes now of so many images, first and last among them; their indices, and the kind of samples."""
        indices = sorted({round(i) for i in np.linspace(0, len(self.data) - 1, number)})
        items = [self.data[index] for index in indices]
        with self._running(self.training):
            return indices, self._see(self._images(items)), type(items[0]['data_samples'])

    def agrees(self, features: Features, indices: Sequence[int], known: Known) -> bool:
        """Whether kept features are what it makes of these images, to half of the digits."""
        tolerance = max(torch.finfo(self.dtype).eps ** 0.5, 1e-2 if self.device == 'cuda' else 0)  # there TF32 may be
        for place, index in enumerate(indices):
            kept, now = features[index], [tensor[place].detach().cpu() for tensor in known.tensors]
            if [(t.shape, t.dtype) for t in kept] != [(t.shape, t.dtype) for t in now]:
                return False
            for pair in zip(kept, now):
                ours, theirs = (torch.nan_to_num(tensor.double()) for tensor in pair)
                if (ours - theirs).norm() > tolerance * theirs.norm():
                    return False
        return True

    def same_labels(self, features: Features) -> bool:
        """Whether kept samples have the labels of the data set, as far as it tells them without its images."""
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
                samples = [_describe(sample) for sample in batch['data_samples']]
                yield self._see(self._preprocess(batch)).tensors, samples

    def about(self, config: Any, split: str) -> dict[str, Any]:
        """All that the features depend on."""
        hall, data = self.hall, self.data.dataset
        loader = config.get(f'{split}_dataloader')
        if not isinstance(loader, dict) or not isinstance(loader.get('dataset'), dict):
            raise NotFrozenError(f'nobody knows what data {split} on: make the Runner by from_cfg')
        trained = set(trained_names(hall))
        parts = (hall.net, hall.prompter, hall.map_norms, self.model.data_preprocessor)
        tensors = [
            (f'{number}.{name}', tensor)
            for number, (part, prefix) in enumerate(zip(parts, ('net.', 'prompter.', 'map_norms.', '-')))
            for name, tensor in [*part.named_parameters(), *part.named_buffers()]
            if not tensor.requires_grad and f'{prefix}{name}' not in trained
        ]
        model = config.model
        plug = [entry.get('prompter') for entry in config.get('custom_hooks', []) if 'prompter' in entry]
        said = dict(
            backbone=model.get('backbone'),
            preprocessor=model.get('data_preprocessor') or config.get('data_preprocessor'),
            # Beyond its own weights: in front of a layer, a prompter has not begun.
            prompter=plug if self.layer is None and type(hall.prompter) is not Prompter else None,
            dataset=loader['dataset'],
        )
        return dict(
            format=FORMAT,
            network=hall.net.geometry.name,
            layer=self.layer,
            readout=str(hall.readout),
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


# ------------------------------------------------------------------------------------------------------ the hook


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Keeps on disk what the frozen part of a network makes of the images to train on, to validate and to test with.

        custom_hooks = [dict(type='PromptTuningHook', tune=['head']), dict(type='FeatureCacheHook')]

    With a linear or an MLP probe these are the features that the head sees, and no image is even read from then on;
    with deep prompts or tuned layers at the end of a network, the tokens in front of the first of them. Any number of
    runs, at the same time, share a folder: what is there is found by weights, data, pipeline, image size, precision and
    versions, and whenever it is taken two images are put through the network again and have to agree. Results are those
    of a run without this hook, to rounding.

    Args:
        folder: of the features of all runs; may be deleted at any time when none is running.
        required: whether features that cannot be kept are an error; if not, the log says why, and they are computed as
            ever.
        gigabytes: most that a split may take; a larger one is computed as ever.

    Note:
        After PromptInitHook, which changes prompts, and before LabelMappingHook, which counts what the network says.

    Raises:
        NotFrozenError: images augmented at random; a prompter on the image or in the first layer, a tuned stem;
            dropout in the frozen part; several images or more than labels in a data sample.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(self, folder: str = 'work_dirs/features', required: bool = True, gigabytes: float = 20.0) -> None:
        self.folder = Path(folder).expanduser()
        self.required = required
        self.gigabytes = gigabytes
        self._settled: set[str] = set()
        self._hands_over = False
        there = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        if not there.is_dir():
            raise ValueError(f'FeatureCacheHook: folder={str(folder)!r}, but {there} is a file: name a folder')

    def before_run(self, runner: Runner) -> None:
        if sum(isinstance(hook, FeatureCacheHook) for hook in runner.hooks) > 1:
            raise ValueError('custom_hooks has more than one FeatureCacheHook: leave one, which serves all splits')

    def before_train(self, runner: Runner) -> None:
        self._serve(runner, 'train', lambda: runner.optim_wrapper.optim_context(runner.model))

    def before_val(self, runner: Runner) -> None:
        self._serve(runner, 'val', lambda: autocast(enabled=True) if runner.val_loop.fp16 else nullcontext())

    def before_test(self, runner: Runner) -> None:
        self._serve(runner, 'test', lambda: autocast(enabled=True) if runner.test_loop.fp16 else nullcontext())

    def _serve(self, runner: Runner, split: str, precision: Callable[[], AbstractContextManager]) -> None:
        """Put what is known of a split's images in their place."""
        loader, model = getattr(runner, f'{split}_loop').dataloader, unwrap_model(runner.model)
        if split in self._settled or not len(loader.dataset):
            return
        self._settled.add(split)
        try:
            with _left_alone():
                frozen = _Frozen(model, loader, split == 'train', precision)
                known = self._find_or_compute(runner, frozen, frozen.about(runner.cfg, split))
        except NotFrozenError as error:
            told = f'features of {split} cannot be kept: {error}'
            if self.required:
                raise NotFrozenError(f'{told}. Leave FeatureCacheHook out') from error
            runner.logger.info(told)
            return
        if known is None:
            return
        # A loader keeps its data set, for the sake of its sampler: there are as many images as before.
        object.__setattr__(loader, 'dataset', known)
        # A row is read sooner than it is passed on by a worker.
        loader.num_workers, loader.timeout, loader.prefetch_factor, loader._iterator = 0, 0, None, None
        if not self._hands_over:
            model.data_preprocessor.register_forward_hook(_hand_over)
            self._hands_over = True

    def _find_or_compute(self, runner: Runner, frozen: _Frozen, about: dict[str, Any]) -> KnownImages | None:
        key = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        name = f'{about["network"]}-{type(frozen.loader.dataset).__name__}-{key}'.replace('/', '_')
        place = self.folder / name
        indices, known, kind = frozen.look(FEW)
        size = len(frozen.data) * sum(t[0].numel() * t.element_size() for t in known.tensors) / 1e9
        if size > self.gigabytes:
            runner.logger.warning(
                f'features of {len(frozen.data):,} images would take {size:.1f} GB, more than gigabytes='
                f'{self.gigabytes:g}: computed as ever'
            )
            return None
        features = self._find(runner, frozen, place, about, indices, known)
        if features is None:
            with alone(self.folder / '.locks' / name):
                features = self._find(runner, frozen, place, about, indices, known)
                if features is None:
                    self._clear(place)
                    for left in self.folder.glob(f'.{name}.*'):
                        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
                    try:
                        write_features(place, about, len(frozen.data), frozen.compute())
                    except ValueError as error:
                        raise NotFrozenError(str(error)) from error
                    features = read_features(place, about)
                    if not frozen.agrees(features, *frozen.look(MORE)[:2]):
                        self._clear(place)
                        raise NotFrozenError(
                            'an image has other features when it is seen again, or among others: something is random '
                            'or depends on the batch'
                        )
                    runner.logger.info(f'features of {len(features):,} images, {size * 1e3:.1f} MB, kept in {place}')
        return KnownImages(frozen.loader.dataset, features, kind, known)

    def _find(
        self, runner: Runner, frozen: _Frozen, place: Path, about: dict[str, Any], indices: list[int], known: Known
    ) -> Features | None:
        try:
            features = read_features(place, about)
        except FileNotFoundError:
            return None
        except ValueError as error:
            runner.logger.warning(f'{error}; computed anew')
            return None
        if len(features) != len(frozen.data) or not frozen.same_labels(features):
            runner.logger.warning(f'{place} is damaged: its labels are not those of the data set; computed anew')
            return None
        if not frozen.agrees(features, indices, known):
            runner.logger.warning(f'{place} is not what the network makes of these images now; computed anew')
            return None
        runner.logger.info(f'features of {len(features):,} images taken from {place}')
        return features

    @staticmethod
    def _clear(place: Path) -> None:
        """Out of the way in one step: another process reads it, or does not find it."""
        if place.is_dir():
            aside = place.with_name(f'.{place.name}.{uuid4().hex}')
            place.rename(aside)
            shutil.rmtree(aside)
