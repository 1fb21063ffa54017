"""How a config reads and prepares an image for its test: the same wherever it is used for prediction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.registry import DefaultScope

from vptx.image_files import shown
from vptx.registry import TRANSFORMS

__all__ = ['ImageReader', 'check_sizes', 'set_test_pipeline', 'test_pipeline']


def test_pipeline(config: Config) -> list[dict]:
    """The transforms of a config's test: of its ``test_dataloader``, or ``test_pipeline`` where it has none.

    Raises:
        ValueError: says what the config lacks.
    """
    pipeline = _test_data(config).get('pipeline') or config.get('test_pipeline')
    if not pipeline:
        raise ValueError(
            'this config does not say how an image is read and prepared: it needs test_pipeline=[...], or a pipeline '
            "in test_dataloader=dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), ..., "
            "dict(type='PackInputs')]))"
        )
    return pipeline


def set_test_pipeline(config: Config, pipeline: list[dict]) -> None:
    """Prepare the images of a config's test by another pipeline, in place."""
    holder = _test_data(config)
    if holder:
        holder['pipeline'] = pipeline
    else:
        config.test_pipeline = pipeline


def _test_data(config: Config) -> dict:
    """The data set of a config's test that has a pipeline; empty without one."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    while 'pipeline' not in dataset and 'dataset' in dataset:  # a wrapper, such as RepeatDataset
        dataset = dataset['dataset']
    return dataset


class _NoImage(Exception):  # noqa: N818  says what to do, not what is wrong
    """No step has read the file: the data set of the config gives pixels itself."""


class ImageReader:
    """Reads and prepares image files one by one, as the test of a config does: its own loader comes first.

    Transforms that load annotations are left out. Where the data set of the config gives pixels and not files, files
    are read by ``LoadImageFromFile()``.

    Args:
        config: of a classifier or segmentor.

    Raises:
        ValueError: of ``test_pipeline``.
    """

    def __init__(self, config: Config) -> None:
        steps = [step for step in test_pipeline(config) if not str(step.get('type')).endswith('LoadAnnotations')]
        with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmpretrain')):
            self.steps = [TRANSFORMS.build(step) for step in steps]

    def __call__(self, path: Path) -> tuple[dict, np.ndarray]:
        """What a batch is collated from, and the image as it was loaded, (H, W, C), usually BGR.

        Raises:
            ValueError: the file cannot be read, or a transform leaves it out. A loader or transform of another package
                may raise anything.
        """
        try:
            return self._prepare(path)
        except _NoImage:
            self.steps.insert(0, LoadImageFromFile())
            return self._prepare(path)

    def _prepare(self, path: Path) -> tuple[dict, np.ndarray]:
        item: Any = dict(img_path=str(path))
        loaded = None
        for step in self.steps:
            try:
                item = step(item)
            except KeyError as error:
                if loaded is None and error.args == ('img',):
                    raise _NoImage from error
                raise
            if item is None:
                raise ValueError(f'{shown(path)} is left out by {type(step).__name__} of the test pipeline')
            if loaded is None and 'img' in item:
                loaded = item['img']
        if loaded is None:
            raise _NoImage
        return item, np.asarray(loaded)


def check_sizes(images: Sequence[Any], names: Sequence[str]) -> None:
    """Refuse a batch of images of several sizes: padded to the largest, each would depend on the others.

    Args:
        images: tensors (C, H, W).
        names: of the images.

    Raises:
        ValueError: names two images and their sizes.
    """
    for image, name in zip(images, names, strict=False):
        if image.shape != images[0].shape:
            sizes = [' x '.join(map(str, shape)) for shape in (images[0].shape, image.shape)]
            raise ValueError(
                f'a batch has images of several sizes, such as {sizes[0]} ({names[0]}) and {sizes[1]} ({name}): padded '
                'to the largest, what is predicted of one would depend on the others. Add a Resize with a fixed scale '
                'to the pipeline, or set batch_size=1'
            )
