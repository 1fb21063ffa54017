"""mmsegmentation's encoder and decoder, for photographs of any size.

A plain sliding window keeps the logits of all classes at full resolution, several times over: 7.2 GB for one copy of
150 classes on 4000 x 3000 pixels. All that is wanted of them is the best class of each pixel. So a large image is
gone through from top to bottom: windows add their logits to the rows that they cover, rows that no further window
covers are averaged, resized to the size of the photograph a few at a time, decided, and forgotten. The numbers are
added in the plain order.
"""

from collections.abc import Iterator, Sequence
from math import ceil

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models import EncoderDecoder
from torch import Tensor

from vptx.registry import MODELS

__all__ = ['StreamedEncoderDecoder', 'decide', 'probabilities', 'windows']

STRIP = 32  # rows of the photograph that are decided at a time


def probabilities(logits: Tensor) -> Tensor:
    """(C, ...) -> (C, ...), by a softmax over the classes; one logit for two classes (1, ...) by a sigmoid."""
    return logits.softmax(0) if len(logits) > 1 else logits.sigmoid()


def decide(scores: Tensor, threshold: float | None) -> Tensor:
    """(C, ...) logits or probabilities -> (...) labels; of (1, ...) probabilities, those above the threshold are 1."""
    return scores.argmax(0) if len(scores) > 1 else (scores[0] > threshold).long()


@MODELS.register_module()
class StreamedEncoderDecoder(EncoderDecoder):
    """mmseg's ``EncoderDecoder``; an image of more than ``most_logits`` numbers is predicted row by row.

    Up to there it is mmseg's in every respect. Beyond, predictions have ``pred_sem_seg`` and no ``seg_logits``.

    Args:
        most_logits: of an image, classes * height * width, whichever is larger of what the network sees and of the
            photograph. The default is 256 MB of them, and mmseg holds several copies.
        **arguments: of mmseg's EncoderDecoder.
    """

    def __init__(self, most_logits: int = 2**26, **arguments) -> None:
        super().__init__(**arguments)
        self.most_logits = most_logits

    def predict(self, inputs: Tensor, data_samples: Sequence | None = None) -> Sequence:
        """(B, 3, H, W) -> the samples, with ``pred_sem_seg`` (1, height, width) at the photograph's own size."""
        if data_samples is None or not self.streams(inputs, data_samples):
            return super().predict(inputs, data_samples)
        for image, sample in zip(inputs, data_samples, strict=True):
            labels = torch.empty(sample.ori_shape, dtype=torch.long, device=image.device)
            for rows, logits in self.strips(image[None], sample.metainfo):
                scores = logits if len(logits) > 1 else probabilities(logits)
                labels[rows] = decide(scores, self.decode_head.threshold)
            sample.set_data(dict(pred_sem_seg=PixelData(data=labels[None])))
        return data_samples

    def streams(self, inputs: Tensor, data_samples: Sequence) -> bool:
        """Whether images are so large that they are predicted row by row."""
        seen = inputs.shape[2] * inputs.shape[3]
        asked = max(height * width for height, width in (sample.ori_shape for sample in data_samples))
        return self.out_channels * max(seen, asked) > self.most_logits

    def strips(self, image: Tensor, meta: dict) -> Iterator[tuple[Tensor, Tensor]]:
        """(1, 3, H, W) -> some rows of the photograph (R,) and their logits (C, R, width), until all had their turn.

        A flip of the image is undone; one of top and bottom gives the last rows first.
        """
        left, right, top, bottom = meta.get('img_padding_size', meta.get('padding_size', [0] * 4))
        columns = slice(left, image.shape[3] - right)
        inner, size = image.shape[2] - top - bottom, meta['ori_shape']
        flip = meta.get('flip_direction', 'horizontal') if meta.get('flip') else None
        rows = _Rows(self, image, meta, span=ceil(STRIP * inner / size[0]) + 2)
        for first in range(0, size[0], STRIP):
            strip = torch.arange(first, min(first + STRIP, size[0]), device=image.device)
            above, share = self._sources(strip, inner, size[0])
            below = (above + (share > 0)).clamp(max=inner - 1)
            start = int(above[0])
            logits = rows.take(top + start, top + int(below[-1]) + 1)[:, :, columns]
            if inner != size[0]:
                logits = torch.lerp(logits[:, above - start], logits[:, below - start], share[:, None])
            if logits.shape[2] != size[1]:
                logits = F.interpolate(
                    logits[None], (len(strip), size[1]), mode='bilinear', align_corners=self.align_corners
                )[0]
            if flip == 'horizontal':
                logits = logits.flip(2)
            yield size[0] - 1 - strip if flip == 'vertical' else strip, logits

    def _sources(self, rows: Tensor, inner: int, size: int) -> tuple[Tensor, Tensor]:
        """Where bilinear interpolation from ``inner`` to ``size`` rows looks: the row above, the share of the next."""
        if self.align_corners:
            at = rows * ((inner - 1) / max(size - 1, 1))
        else:
            at = ((rows + 0.5) * (inner / size) - 0.5).clamp(min=0)
        above = at.floor().long().clamp(max=inner - 1)
        return above, (at - above).to(torch.get_default_dtype())


class _Rows:
    """The averaged logits of all windows, row by row; those above what is asked for are forgotten.

    Args:
        segmentor: what to ask.
        image: (1, 3, H, W).
        meta: of the image.
        span: the most rows that are asked for at a time.
    """

    def __init__(self, segmentor: EncoderDecoder, image: Tensor, meta: dict, span: int) -> None:
        self.segmentor, self.image = segmentor, image
        self.meta = dict(meta)
        height, width = image.shape[2:]
        config = segmentor.test_cfg
        slides = config.get('mode', 'whole') == 'slide'
        (tall, wide), (down, across) = (config.crop_size, config.stride) if slides else ((height, width),) * 2
        self.waiting, self.across = windows(height, tall, down), windows(width, wide, across)
        self.counts = [_counts(found, image) for found in (self.waiting, self.across)]
        # Of rows first to last. A window is added for a strip that ends in it and may begin above it.
        self.first = self.last = 0
        self.sums = image.new_empty(segmentor.out_channels, min(height, span + tall), width)

    @torch.no_grad()
    def take(self, first: int, last: int) -> Tensor:
        """Rows ``first`` to ``last`` (excluded) -> (C, last - first, W); ``first`` never goes back."""
        while self.waiting and self.waiting[0][0] < last:
            self._add(self.waiting.pop(0), first)
        down, across = self.counts
        return self.sums[:, first - self.first : last - self.first] / (down[first:last, None] * across)

    def _add(self, window: tuple[int, int], first: int) -> None:
        top, bottom = window
        unseen = max(first - top, 0)  # rows between two strips, where the photograph has fewer than the network sees
        if top + unseen >= bottom:
            return
        for scores in self.sums:  # a class at a time: no second copy of all
            kept = scores[first - self.first : self.last - self.first].clone()
            scores[: len(kept)] = kept
            scores[len(kept) :] = 0
        self.first, self.last = first, bottom
        for left, right in self.across:
            crop = self.image[:, :, top:bottom, left:right]
            self.meta['img_shape'] = crop.shape[2:]
            logits = self.segmentor.encode_decode(crop, [self.meta])[0]
            self.sums[:, top + unseen - first : bottom - first, left:right] += logits[:, unseen:]


def windows(length: int, window: int, stride: int) -> list[tuple[int, int]]:
    """From where to where the windows reach along one side; the last one is moved back to end with the image."""
    steps = max(length - window + stride - 1, 0) // stride + 1
    ends = [min(step * stride + window, length) for step in range(steps)]
    return [(max(end - window, 0), end) for end in ends]


def _counts(found: Sequence[tuple[int, int]], like: Tensor) -> Tensor:
    """In how many windows each row, or column, is."""
    counts = like.new_zeros(found[-1][1])
    for start, end in found:
        counts[start:end] += 1
    return counts
