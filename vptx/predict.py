"""What a trained classifier says of images: a table, written as it goes, and a picture of the first ones."""

import csv
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, nan
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, autocast
from torch import nn
from torch.utils.data import SequentialSampler

from vptx.datasets.bands import picture
from vptx.datasets.pipeline import ImageReader, check_sizes
from vptx.hooks.channel_checks import check_images
from vptx.image_files import SUFFIXES, Found, search, shown

__all__ = ['Prediction', 'Table', 'contact_sheet', 'find_images', 'predict']

SHOWN = 60  # images of a contact sheet
THUMBNAIL = 240  # pixels of their longer side


@dataclass
class Prediction:
    """The class of an image, or the reason why there is none.

    Attributes:
        path: of the image.
        label: index of the class; -1 of a file that cannot be read.
        name: of the class, or its index where the prompt file names none; empty of a file that cannot be read.
        score: probability in [0, 1].
        scores: of all classes.
        error: why the file cannot be read; empty if it can.
        picture: (h, w, 3) RGB, uint8, the image as it was loaded, made small; None where it was not asked for.
    """

    path: Path
    label: int
    name: str
    score: float
    scores: Sequence[float] = ()
    error: str = ''
    picture: np.ndarray | None = None


def find_images(inputs: Sequence[str | Path]) -> list[Path]:
    """Find the image files among paths.

    Args:
        inputs: Paths of image files and of folders. Folders are searched with all folders in them.

    Returns:
        The paths of the images. The log says which files were passed over, and why.

    Raises:
        FileNotFoundError: A path does not exist.
        ValueError: There is no image at all, or a path is neither a file nor a folder.
    """
    found = Found()
    for path in map(Path, inputs):
        if not path.exists():
            raise FileNotFoundError(f'there is no image or folder {shown(path.absolute())}')
        if path.is_dir():
            found.add(search(path))
        elif path.is_file():
            found.images.append(path)
        else:
            raise ValueError(f'{shown(path)} is neither a file nor a folder')
    passed = found.report()
    if not found.images:
        raise ValueError(
            f'no images in {", ".join(map(shown, inputs))}; looked for files ending in {", ".join(SUFFIXES)}'
            f'{f"; passed over {passed}" if passed else ""}'
        )
    if passed:
        print_log(f'passed over {passed}', 'current', logging.WARNING)
    return found.images


def predict(
    model: nn.Module,
    paths: Sequence[Path],
    batch_size: int | None = None,
    pictures: int = 0,
    bands: Sequence[int] | None = None,
) -> Iterator[Prediction]:
    """What ``model``, from ``vptx.init_model``, says of the images at ``paths``, in their order.

    Images are read and prepared as the test of the model's config does it, one batch at a time: with the batch size of
    the test, scores are the test's to the bit, and memory does not grow with the number of images.

    Args:
        model: with its config.
        paths: of image files; one that cannot be read gives a prediction with an ``error``.
        batch_size: that of the config's test by default.
        pictures: how many of the first images to keep, made small, for ``contact_sheet``.
        bands: which three channels of these to draw as red, green and blue, or which one as grey, counted from 1. By
            default those of a colour image, or the first three of more.

    Raises:
        ValueError: a config that does not say how images are prepared; a batch with images of several sizes; images of
            other channels than the network's; bands that an image does not have.
    """
    config: Any = model.cfg
    loader: Any = config.get('test_dataloader') or {}
    loop: Any = config.get('test_cfg') or {}
    meta: Any = model.dataset_meta
    classes = meta.get('classes')
    reader, collate = ImageReader(config), _collate(config)
    size, half = batch_size or loader.get('batch_size', 1), bool(loop.get('fp16'))
    for start in range(0, len(paths), size):
        batch, items = [], []
        for path in paths[start : start + size]:
            try:
                item, image = reader(path)
            except Exception as error:  # of the file, or of the loader that a user wrote
                batch.append(Prediction(path, -1, '', nan, error=shown(str(error)) or type(error).__name__))
                continue
            items.append(item)
            batch.append(Prediction(path, -1, '', nan))
            if pictures > 0:
                batch[-1].picture, pictures = _thumbnail(image, path, bands), pictures - 1
        read = [prediction for prediction in batch if not prediction.error]
        if items:
            names = [shown(prediction.path) for prediction in read]
            inputs = [item['inputs'] for item in items]
            firsts = [views[0] if isinstance(views, list) else views for views in inputs]
            check_images(model, firsts, names)
            check_sizes(firsts, names)
            with torch.no_grad(), autocast(enabled=half):
                samples = model.test_step(collate(items))
            for prediction, sample in zip(read, samples, strict=True):
                _fill_in(prediction, sample, classes)
        yield from batch


def _collate(config: Config) -> Any:
    """How the test of a config makes a batch of items."""
    loader: Any = config.get('test_dataloader') or {}
    given = {key: value for key, value in loader.items() if key == 'collate_fn'}
    with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmpretrain')):
        return Runner.build_dataloader(dict(dataset=[], sampler=SequentialSampler([]), **given)).collate_fn


def _fill_in(prediction: Prediction, sample: Any, classes: Sequence[str] | None) -> None:
    scores = sample.pred_score.float().cpu()
    label = int(scores.argmax())
    prediction.label, prediction.name = label, str(classes[label] if classes else label)
    prediction.score, prediction.scores = float(scores[label]), scores.tolist()


def _thumbnail(image: np.ndarray, path: Path, bands: Sequence[int] | None) -> np.ndarray:
    """(H, W) or (H, W, C) of any type -> (h, w, 3) RGB, uint8."""
    scale = min(1, THUMBNAIL / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    try:
        drawn = picture(image, bands)
    except ValueError as error:
        raise ValueError(f'{shown(path)}: {error}') from error
    return cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA)


class Table:
    """Predictions as CSV: image, class, score, error and, if wanted, the score of each class.

    Rows are in ``NAME.part.csv`` as soon as they are written, and the file takes its name when all are there: what a
    process leaves behind that dies is a table too, and looks unfinished.

        with Table('predictions.csv') as table:
            table.write(prediction)

    Args:
        path: of the table.
        classes: names of the classes whose scores to write, or True for numbers in their place; None writes none.
    """

    def __init__(self, path: str | Path, classes: Sequence[str] | bool | None = None) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(f'{self.path.stem}.part{self.path.suffix}')
        self.classes = classes
        self._waiting: list[Prediction] = []

    def __enter__(self) -> 'Table':
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.part.open('w', newline='', encoding='utf-8')
        self._writer = csv.writer(self._file, lineterminator='\n')
        if self.classes is not True:
            self._head(self.classes or ())
        return self

    def _head(self, classes: Sequence[str]) -> None:
        self._write(['image', 'class', 'score', 'error', *(f'score of {name}' for name in classes)])
        self.classes = classes

    def _write(self, row: list) -> None:
        self._writer.writerow(row)
        self._file.flush()

    def write(self, prediction: Prediction) -> None:
        """Append a row."""
        if self.classes is True:  # how many there are is not known before the first image that can be read
            self._waiting.append(prediction)
            if prediction.error:
                return
            self._head([str(label) for label in range(len(prediction.scores))])
            waiting, self._waiting = self._waiting, []
        else:
            waiting = [prediction]
        for p in waiting:
            score = '' if p.error else f'{p.score:.4f}'
            scores = [f'{value:.6f}' for value in p.scores] if self.classes else []
            self._write([shown(p.path), p.name, score, p.error, *scores])

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._waiting:
            self._head(())
            for prediction in self._waiting:
                self.write(prediction)
        os.fsync(self._file.fileno())
        self._file.close()
        if kind is None:
            os.replace(self.part, self.path)


def contact_sheet(predictions: Sequence[Prediction], path: Path, most: int = SHOWN) -> None:
    """Draw predictions with their images, classes and scores into a PNG.

    Args:
        predictions: What ``predict`` returned. Those that kept a picture are drawn.
        path: The PNG file to write.
        most: The largest number of images on the sheet.
    """
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    drawn = [prediction for prediction in predictions if prediction.picture is not None][:most]
    columns = min(10, len(drawn))
    rows = ceil(len(drawn) / columns)
    figure = Figure(figsize=(1.5 * columns, 1.8 * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis('off')
    for axis, prediction in zip(axes.flat, drawn, strict=False):
        axis.imshow(prediction.picture)
        axis.set_title(f'{prediction.name}  {prediction.score:.0%}', fontsize=9, parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
