"""What a trained classifier says of images: a table, and a picture of it."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from math import ceil
from pathlib import Path

import mmcv
import numpy as np
from mmpretrain import ImageClassificationInferencer
from torch import nn

from vptx.files import write_whole

__all__ = ['Prediction', 'contact_sheet', 'find_images', 'predict', 'write_table']

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')


@dataclass
class Prediction:
    """The class of an image.

    Attributes:
        path: of the image.
        label: index of the class.
        name: of the class, or its index where the prompt file names none.
        score: probability in [0, 1].
    """

    path: Path
    label: int
    name: str
    score: float


def find_images(inputs: Sequence[str | Path]) -> list[Path]:
    """The image files among ``inputs``, folders searched through.

    Raises:
        FileNotFoundError: a path that is not there.
        ValueError: no image at all.
    """
    found: list[Path] = []
    for path in map(Path, inputs):
        if not path.exists():
            raise FileNotFoundError(f'there is no image or folder {path.absolute()}')
        found += sorted(p for p in path.rglob('*') if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    if not found:
        raise ValueError(
            f'no images in {", ".join(map(str, inputs))}; looked for files ending in {", ".join(SUFFIXES)}'
        )
    return found


def read_image(path: Path) -> np.ndarray:
    """(H, W, 3) BGR, uint8.

    Raises:
        ValueError: names a file that is no image.
    """
    image = mmcv.imfrombytes(path.read_bytes()) if path.stat().st_size else None
    if image is None:
        raise ValueError(f'{path} is not an image that can be read')
    return image


def predict(model: nn.Module, paths: Sequence[Path], batch_size: int = 32) -> list[Prediction]:
    """What ``model``, from :func:`vptx.init_model`, says of the images at ``paths``, in their order."""
    inferencer = ImageClassificationInferencer(model)
    images = [read_image(path) for path in paths]
    results = inferencer(images, batch_size=batch_size)
    return [
        Prediction(path, int(r['pred_label']), str(r.get('pred_class', r['pred_label'])), float(r['pred_score']))
        for path, r in zip(paths, results, strict=True)
    ]


def write_table(predictions: Sequence[Prediction], path: Path) -> None:
    """Write image, class and score as CSV."""
    text = StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['image', 'class', 'score'])
    writer.writerows([p.path, p.name, f'{p.score:.4f}'] for p in predictions)
    write_whole(path, text.getvalue().encode())


def contact_sheet(predictions: Sequence[Prediction], path: Path, most: int = 60) -> None:
    """Draw the first ``most`` images with their classes and scores into a PNG."""
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    shown = predictions[:most]
    columns = min(10, len(shown))
    rows = ceil(len(shown) / columns)
    figure = Figure(figsize=(1.5 * columns, 1.8 * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis('off')
    for axis, prediction in zip(axes.flat, shown, strict=False):
        axis.imshow(read_image(prediction.path)[..., ::-1])
        axis.set_title(f'{prediction.name}  {prediction.score:.0%}', fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
