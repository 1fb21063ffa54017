"""Answers of segmentors: the class of each pixel, as a PNG whose pixels are indices of classes."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement
from PIL import Image
from torch import Tensor, nn

from vptx.segmentation import dataset_meta, decide, probabilities
from vptx.serve.bank import Bank
from vptx.serve.pictures import Photograph, RefusedImage
from vptx.serve.segments import Decoder
from vptx.serve.task import Task

__all__ = ['Mask', 'Masks']

#: Numbers, classes * height * width, that are kept of the images of a part of a batch, and of a mask: 256 MB.
LOGITS = 2**26


@dataclass(frozen=True)
class Mask:
    """What a version of a task says of the pixels of an image.

    Attributes:
        task, version: whose.
        png: indices of classes, of 8 bits with a palette of the classes' colours; of 16 bits and grey where there are
            more than 256 classes. It has the size of the image, or is smaller by a whole factor where the image is so
            large that the logits of its pixels would not be kept.
        classes: those that occur, the largest share first: index, name, colour as ``#rrggbb``, and share of the pixels.
    """

    task: str
    version: str
    png: bytes
    classes: list[dict[str, Any]]

    def as_json(self) -> dict[str, Any]:
        """As the server says it."""
        text = base64.b64encode(self.png).decode()
        return dict(task=self.task, version=self.version, mask=text, classes=self.classes)


class Masks:
    """A bank of segmentors, and what is before and after it.

    Args:
        bank: whose network is a segmentor's.
        preprocessor: of the segmentor; it normalises pixels and pads.
        data: config of the data set of the test, whose colours are taken where it has the classes of a task.
    """

    def __init__(self, bank: Bank, preprocessor: nn.Module, data: Mapping[str, Any]) -> None:
        self.bank, self.preprocessor, self.data = bank, preprocessor, data

    def __call__(self, items: Sequence[tuple[Photograph, str]]) -> list[Mask | ValueError]:
        """Of each photograph with the name of a task. Those of one size are mixed in one batch.

        Returns:
            Of each a mask, or the error that says why there is none.

        Raises:
            UnknownTask: there is none of a name.
        """
        found: dict[int, Mask | ValueError] = {}
        shapes = [photograph.pixels.shape for photograph, _ in items]
        for shape in dict.fromkeys(shapes):
            rows = [row for row, other in enumerate(shapes) if other == shape]
            classes = max(self.bank.task(items[row][1]).head.classes for row in rows)
            number = LOGITS // (classes * shape[1] * shape[2])
            if not number:
                error = RefusedImage(
                    f'{shape[1]} x {shape[2]} px of {classes} classes are more than {LOGITS:,} numbers: the test '
                    'pipeline of the config needs a Resize',
                    413,
                )
                found.update(dict.fromkeys(rows, error))
                continue
            for start in range(0, len(rows), number):
                part = rows[start : start + number]
                found.update(zip(part, self._part([items[row] for row in part]), strict=True))
        return [found[row] for row in range(len(items))]

    def images(self, pixels: Sequence[Tensor]) -> tuple[Tensor, list[Sequence[int]]]:
        """Some (3, H, W) -> (B, 3, H', W'), with what is padded of each: left, right, top, bottom."""
        samples = [BaseDataElement() for _ in pixels]
        given = self.preprocessor(dict(inputs=list(pixels), data_samples=samples), training=False)
        return given['inputs'], [sample.get('img_padding_size', (0, 0, 0, 0)) for sample in given['data_samples']]

    def _part(self, items: Sequence[tuple[Photograph, str]]) -> Sequence[Mask | ValueError]:
        images, paddings = self.images([photograph.pixels for photograph, _ in items])
        try:
            answers = self.bank.answer(images, [name for _, name in items])
        except ValueError as error:  # a size that the network does not take, or one task of these
            return [error] if len(items) == 1 else [self._part([item])[0] for item in items]
        return [
            self._mask(task, _without(logits, padding), photograph.size)
            for (logits, task), padding, (photograph, _) in zip(answers, paddings, items, strict=True)
        ]

    def _mask(self, task: Task, logits: Tensor, size: tuple[int, int]) -> Mask:
        assert isinstance(task.head, Decoder)
        head = task.head.decode_head
        factor = ceil((len(logits) * size[0] * size[1] / LOGITS) ** 0.5) or 1
        size = max(1, size[0] // factor), max(1, size[1] // factor)
        logits = F.interpolate(logits[None], size, mode='bilinear', align_corners=head.align_corners)[0]
        labels = decide(logits if len(logits) > 1 else probabilities(logits), head.threshold).cpu()
        shares = torch.bincount(labels.flatten(), minlength=len(task.classes)) / labels.numel()
        colours = self.colours(task.classes)
        order = [index for index in shares.argsort(descending=True, stable=True).tolist() if shares[index]]
        classes = [
            dict(
                index=index,
                name=task.classes[index],
                colour='#{:02x}{:02x}{:02x}'.format(*colours[index]),
                share=round(float(shares[index]), 6),
            )
            for index in order
        ]
        return Mask(task.name, task.version, _png(labels.numpy(), colours), classes)

    def colours(self, classes: Sequence[str]) -> list[list[int]]:
        """RGB of each class."""
        with DefaultScope.overwrite_default_scope('mmseg'):
            return dataset_meta(self.data, classes)['palette']


def _without(logits: Tensor, padding: Sequence[int]) -> Tensor:
    left, right, top, bottom = padding
    return logits[:, top : logits.shape[1] - bottom, left : logits.shape[2] - right]


def _png(labels: np.ndarray, colours: Sequence[Sequence[int]]) -> bytes:
    few = len(colours) <= 256
    image = Image.fromarray(labels.astype(np.uint8 if few else np.uint16))
    if few:
        image.putpalette(np.asarray(colours, np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, 'PNG')
    return file.getvalue()
