"""Computes what a frozen network makes of an image once, and reads it from disk in every epoch of every run."""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.amp import autocast

from vptx.features.deterministic import NotFrozenError, restored_generators
from vptx.features.frozen import FrozenPart
from vptx.features.images import CachedImages, FrozenOutput, take_features
from vptx.features.store import Features, read_features, write_features
from vptx.files import alone
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['FeatureCacheHook', 'NotFrozenError']

CHECKED_WHEN_READ, CHECKED_WHEN_WRITTEN = 2, 16  # images that are run through the network again, to compare


@HOOKS.register_module()
class FeatureCacheHook(Hook):
    """Keeps on disk what the frozen part of a network makes of the training, validation and test images.

        custom_hooks = [dict(type='PromptTuningHook', tune=['head']), dict(type='FeatureCacheHook')]

    With a linear or an MLP probe these are the features that the head sees, and no image is even read from then on;
    with deep prompts or tuned layers at the end of a network, the tokens before the first of them. Any number of
    runs, at the same time, share a folder: what is there is found by weights, data, pipeline, image size, precision and
    versions, and whenever it is taken two images are put through the network again and have to agree. Results are those
    of a run without this hook, to rounding.

    Args:
        folder: of the features of all runs; may be deleted at any time when none is running.
        required: whether features that cannot be kept are an error; if not, the log says why, and they are
            computed in every epoch.
        gigabytes: most that a split may take; a larger one is computed in every epoch.

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
        """Put the features of a split's images in their place."""
        loader, model = getattr(runner, f'{split}_loop').dataloader, unwrap_model(runner.model)
        if split in self._settled or not len(loader.dataset):
            return
        self._settled.add(split)
        try:
            with restored_generators():
                frozen = FrozenPart(model, loader, split == 'train', precision)
                images = self._find_or_compute(runner, frozen, frozen.about(runner.cfg, split))
        except NotFrozenError as error:
            message = f'features of {split} cannot be kept: {error}'
            if self.required:
                raise NotFrozenError(f'{message}. Leave FeatureCacheHook out') from error
            runner.logger.info(message)
            return
        if images is None:
            return
        # A loader keeps its data set, for the sake of its sampler: there are as many images as before.
        object.__setattr__(loader, 'dataset', images)
        # A row is read sooner than it is passed on by a worker.
        loader.num_workers, loader.timeout, loader.prefetch_factor, loader._iterator = 0, 0, None, None
        if not self._hands_over:
            take_features(frozen.network, model.get_submodule('data_preprocessor'))
            self._hands_over = True

    def _find_or_compute(self, runner: Runner, frozen: FrozenPart, about: dict[str, Any]) -> CachedImages | None:
        key = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
        name = f'{about["network"]}-{type(frozen.loader.dataset).__name__}-{key}'.replace('/', '_')
        place = self.folder / name
        indices, output, kind = frozen.spot_check(CHECKED_WHEN_READ)
        size = len(frozen.data) * sum(t[0].numel() * t.element_size() for t in output.tensors) / 1e9
        if size > self.gigabytes:
            runner.logger.warning(
                f'features of {len(frozen.data):,} images would take {size:.1f} GB, more than gigabytes='
                f'{self.gigabytes:g}: computed in every epoch'
            )
            return None
        features = self._find(runner, frozen, place, about, indices, output)
        if features is None:
            with alone(self.folder / '.locks' / name):
                features = self._find(runner, frozen, place, about, indices, output)
                if features is None:
                    self._clear(place)
                    for left in self.folder.glob(f'.{name}.*'):
                        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
                    try:
                        write_features(place, about, len(frozen.data), frozen.compute())
                    except ValueError as error:
                        raise NotFrozenError(str(error)) from error
                    features = read_features(place, about)
                    if not frozen.agrees(features, *frozen.spot_check(CHECKED_WHEN_WRITTEN)[:2]):
                        self._clear(place)
                        raise NotFrozenError(
                            'an image has other features when it is seen again, or among others: something is random '
                            'or depends on the batch'
                        )
                    runner.logger.info(f'features of {len(features):,} images, {size * 1e3:.1f} MB, kept in {place}')
        return CachedImages(frozen.loader.dataset, features, kind, output)

    def _find(
        self,
        runner: Runner,
        frozen: FrozenPart,
        place: Path,
        about: dict[str, Any],
        indices: list[int],
        output: FrozenOutput,
    ) -> Features | None:
        try:
            features = read_features(place, about)
        except FileNotFoundError:
            return None
        except ValueError as error:
            runner.logger.warning(f'{error}; computed again')
            return None
        if len(features) != len(frozen.data) or not frozen.same_labels(features):
            runner.logger.warning(f'{place} is damaged: its labels are not those of the data set; computed again')
            return None
        if not frozen.agrees(features, indices, output):
            runner.logger.warning(f'{place} is not what the network makes of these images now; computed again')
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
