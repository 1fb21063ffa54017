"""Segmentors in a bank: feature maps of a mixed batch -> logits of each pixel, by the decode head of each task.

A decode head is no linear map and not cheap, so it runs on the rows of its own task alone. A picture larger than the
network's images is gone through in windows, as mmsegmentation does it; each window is a mixed batch.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from vptx.tensors import check_numbers

__all__ = ['Decoder', 'segment']

#: What a prompt file has of these serves training alone.
UNUSED = 'auxiliary_head.'


class Decoder(nn.Module):
    """What a segmentor of mmsegmentation has after its backbone: a neck, if there is one, and a decode head.

    Args:
        segmentor: whose modules these are.

    Raises:
        ValueError: a head without one last convolution, which gives the classes.
    """

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        self.neck: Any = getattr(segmentor, 'neck', None)
        self.decode_head: Any = segmentor.decode_head
        self.test_cfg: Any = segmentor.test_cfg or {}
        if not isinstance(getattr(self.decode_head, 'conv_seg', None), nn.Conv2d):
            raise ValueError(
                f'a bank takes decode heads whose last layer is a convolution, conv_seg, and that of '
                f'{type(self.decode_head).__name__} is not: such heads are not served'
            )

    @property
    def classes(self) -> int:
        return self.decode_head.num_classes

    def of_task(self, tensors: Mapping[str, Tensor], where: str) -> 'Decoder':
        """A copy with the tensors of a prompt file, and as many classes as these have.

        Args:
            tensors: by their names in the segmentor.
            where: of the file, for errors.

        Raises:
            ValueError: begins with ``where``; tensors that are missing, of other shapes, or one too many.
        """
        made, given = deepcopy(self), {n: t for n, t in tensors.items() if not n.startswith(UNUSED)}
        last = given.get('decode_head.conv_seg.weight')
        if last is not None and last.dim() == 4 and len(last):
            made._set_classes(len(last), where)
        own = made.state_dict()
        faults = [f'lacks {name}' for name in own if name not in given]
        faults += [f'has {name}, which is no part of it' for name in given if name not in own]
        faults += [
            f'has {name} of shape {tuple(tensor.shape)} instead of {tuple(own[name].shape)}'
            for name, tensor in given.items()
            if name in own and tensor.shape != own[name].shape
        ]
        if faults:
            more = f'; and {len(faults) - 3} more' if len(faults) > 3 else ''
            raise ValueError(
                f'{where} does not fit the decode head of this bank, {type(self.decode_head).__name__}, all of which a '
                f'task trains: it {"; ".join(faults[:3])}{more}'
            )
        check_numbers(given, own, where)
        made.load_state_dict(given)
        return made.eval().requires_grad_(False)

    def _set_classes(self, outputs: int, where: str) -> None:
        head = self.decode_head
        if outputs == head.out_channels:
            return
        if 1 in (outputs, head.out_channels):
            raise ValueError(
                f'{where} has a decode head of {outputs} outputs, that of this bank has {head.out_channels}: one '
                'output for two classes, with a threshold, does not mix with others'
            )
        old = head.conv_seg
        head.conv_seg = nn.Conv2d(old.in_channels, outputs, kernel_size=1).to(old.weight)
        head.num_classes = head.out_channels = outputs

    def forward(self, maps: tuple[Tensor, ...], size: tuple[int, int]) -> Tensor:
        """Feature maps -> (B, C, *size)"""
        maps = maps if self.neck is None else self.neck(maps)
        return self.decode_head.predict(maps, [dict(img_shape=torch.Size(size))], self.test_cfg)


def segment(images: Tensor, decoders: Sequence[Decoder], maps: Callable[[Tensor], tuple[Tensor, ...]]) -> list[Tensor]:
    """Logits of each image (C, H, W), by its own decoder, which gives the number of classes C.

    Args:
        images: (B, 3, H, W).
        decoders: one for each image; neighbours of one decoder go through it together. All are windowed alike.
        maps: (B, 3, h, w) -> feature maps of the mixed batch.
    """
    from vptx.segmentation import windows  # mmsegmentation is an extra

    height, width = images.shape[2:]
    config = decoders[0].test_cfg
    slides = config.get('mode', 'whole') == 'slide'
    (tall, wide), (down, across) = (config['crop_size'], config['stride']) if slides else ((height, width),) * 2
    runs = [(decoder, len(list(run))) for decoder, run in groupby(decoders, key=lambda decoder: decoder)]
    sums = [images.new_zeros(number, decoder.decode_head.out_channels, height, width) for decoder, number in runs]
    counts = images.new_zeros(height, width)
    for top, bottom in windows(height, tall, down):
        for left, right in windows(width, wide, across):
            counts[top:bottom, left:right] += 1
            found, start = maps(images[:, :, top:bottom, left:right]), 0
            for (decoder, number), total in zip(runs, sums, strict=True):
                rows = tuple(part[start : start + number] for part in found)
                total[:, :, top:bottom, left:right] += decoder(rows, (bottom - top, right - left))
                start += number
    return [logits for total in sums for logits in total / counts]
