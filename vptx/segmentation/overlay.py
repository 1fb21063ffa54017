"""What a segmentor says of photographs: label maps, and pictures of them with a legend."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from PIL import Image, ImageDraw, ImageFont
from torch import nn

from vptx.datasets.bands import picture
from vptx.datasets.pipeline import ImageReader

__all__ = ['overlay', 'predict', 'write_predictions']


def predict(
    model: nn.Module, paths: Sequence[Path], bands: Sequence[int] | None = None
) -> Iterator[tuple[Path, np.ndarray, np.ndarray]]:
    """Path, photograph (H, W, 3) RGB and labels (H, W), one photograph after the other.

    Photographs are read and prepared as the test of the model's config does it.

    Args:
        model: from ``vptx.init_model``.
        paths: of images of any size.
        bands: which three channels to draw as red, green and blue, or which one as grey, counted from 1.

    Raises:
        ValueError: names a file that is no image, or says what the config lacks; bands that an image does not have.
    """
    config: Any = model.cfg
    reader = ImageReader(config)
    for path in paths:
        item, image = reader(path)
        with DefaultScope.overwrite_default_scope('mmseg'), torch.no_grad():  # whatever was used since it was made
            sample = model.test_step(pseudo_collate([item]))[0]
        yield path, picture(image, bands), sample.pred_sem_seg.data[0].long().cpu().numpy()


def overlay(
    image: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    opacity: float = 0.6,
    longest: int = 1600,
) -> Image.Image:
    """Draw the colours of classes over a photograph, with a legend of the classes that occur, the largest first.

    Args:
        image: The photograph, RGB (H, W, 3), uint8.
        labels: The class of each pixel, (H, W).
        classes: The names of the classes.
        palette: An RGB colour for each class, 0 to 255.
        opacity: The opacity of the colours, from 0 to 1.
        longest: The longer side of the picture in pixels, from 320 up. The photograph is resized to it.

    Returns:
        The picture with its legend.
    """
    colours = np.asarray(palette, np.uint8)
    height, width = labels.shape
    scale = np.clip(max(labels.shape), 320, longest) / max(labels.shape)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    photograph = Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.LANCZOS)
    painted = Image.fromarray(colours[labels]).resize(size, Image.Resampling.NEAREST)
    counts = np.bincount(labels.ravel(), minlength=len(classes))
    rows = [label for label in np.argsort(-counts, kind='stable') if counts[label]]
    letter = max(12, max(size) // 50)
    font = ImageFont.load_default(letter)
    texts = [f'{classes[label]}  {_percent(counts[label] / labels.size)}' for label in rows]
    line, column_width = round(1.6 * letter), round(max(font.getlength(text) for text in texts)) + 4 * letter
    columns = -(-len(rows) // max(1, (size[1] - letter) // line))
    sheet = Image.new('RGB', (size[0] + columns * column_width, size[1]), 'white')
    sheet.paste(Image.blend(photograph, painted, opacity))
    pen = ImageDraw.Draw(sheet)
    per_column = -(-len(rows) // columns)
    for place, (label, text) in enumerate(zip(rows, texts)):
        column, row = divmod(place, per_column)
        left, top = size[0] + column * column_width + letter, letter // 2 + row * line
        box = (left, top, left + letter, top + letter)
        pen.rectangle(box, fill=tuple(map(int, colours[label])), outline='black')
        pen.text((left + 1.6 * letter, top + letter / 2), text, fill='black', font=font, anchor='lm')
    return sheet


def _percent(share: float) -> str:
    return f'{share:.0%}' if share >= 0.01 else '< 1%'


def write_predictions(
    model: nn.Module, paths: Sequence[Path], folder: Path, bands: Sequence[int] | None = None
) -> Iterator[tuple[Path, dict[str, float]]]:
    """Write ``NAME.png``, the overlay, and ``NAME_labels.png``, the label map in the colours of the classes, for each
    photograph; yields its path and the shares of its classes, the largest first.

    Raises:
        ValueError: names a file that is no image, or says that the model has no class names.
    """
    classes, palette = model.dataset_meta.get('classes'), model.dataset_meta.get('palette')
    if not classes:
        raise ValueError('this model has no class names: give vptx.init_model a prompt file of a finished run')
    folder.mkdir(parents=True, exist_ok=True)
    names: set[str] = set()
    for path, image, labels in predict(model, paths, bands):
        name = path.stem
        while name in names:  # photographs of one name from two folders
            name += '_'
        names.add(name)
        overlay(image, labels, classes, palette).save(folder / f'{name}.png')
        indexed = Image.fromarray(labels.astype(np.uint8))
        indexed.putpalette(np.asarray(palette, np.uint8).tobytes())
        indexed.save(folder / f'{name}_labels.png')
        counts = np.bincount(labels.ravel(), minlength=len(classes))
        order = [label for label in np.argsort(-counts, kind='stable') if counts[label]]
        yield path, {classes[label]: float(counts[label] / labels.size) for label in order}
