"""Class names as the classifier of a decode head: every cell of a feature map in CLIP's joint space is compared with
the features of the names, as Zhou et al., "Extract Free Dense Labels from CLIP" (MaskCLIP), ECCV 2022,
https://arxiv.org/abs/2112.01071, do.

    l_hw = scale * normalise(x_hw) Z^T

x (B, d, H, W) is a map that the readout ``dict(maps=[...], norm='projected')`` gives, or what the convolutions of a
head make of it. Other classes can be named without training.
"""

from collections.abc import Sequence
from typing import Any

from mmseg.models import SETRUPHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from vptx.mappings.text import TextHead
from vptx.registry import MODELS

__all__ = ['ReadsWords', 'TextSETRUPHead', 'TextSegHead']


class WordsClassifier(nn.Module):
    """A text head on every cell of a map: (B, d, H, W) -> (B, C, H, W)

    Args:
        head: for embeddings of width d.
    """

    def __init__(self, head: TextHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.permute(0, 2, 3, 1).flatten(0, 2)).unflatten(0, (len(x), *x.shape[2:])).permute(0, 3, 1, 2)


class ReadsWords(BaseDecodeHead):
    """Before a decode head of mmseg: its last convolution, ``conv_seg``, becomes class names.

    A head of your own reads class names by ``class Mine(ReadsWords, FCNHead): pass``.

    Args:
        words: of ``TextHead``: tower, classes, template, prompter. Their order is that of the
            labels. The prompter trains where ``tune`` names the head.
        channels: what the head's own convolutions give, which has to be d, the width of the joint space.
        **options: of the head of mmseg.

    Raises:
        ImportError: open_clip is not installed.
        ValueError: fewer than two classes, other channels than d, a prompter that makes features of each image.
    """

    def __init__(self, words: dict, channels: int, **options: Any) -> None:
        head = TextHead(**words)
        joint, prompter = head.text.net.embed_dim, head.text.prompter
        if channels != joint:
            raise ValueError(
                f'{type(self).__name__} compares maps of channels={channels} with names of {joint} numbers: set '
                f'channels={joint}'
            )
        if head.num_classes < 2:
            raise ValueError(f'{type(self).__name__} needs two class names or more, not {list(head.class_names)}')
        if prompter.takes_note:
            raise ValueError(
                f'{type(prompter).__name__} makes features of the classes for each image, and a map has many cells: '
                'use a ContextPrompter'
            )
        number = options.setdefault('num_classes', head.num_classes)
        if number != head.num_classes:
            raise ValueError(f'num_classes={number}, but there are {head.num_classes} class names: leave it out')
        super().__init__(channels=channels, **options)
        head.bind(joint)
        self.conv_seg = WordsClassifier(head)
        starts = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg]
        self.init_cfg = [start for start in starts if start and not _is_of_classifier(start)]

    @property
    def words(self) -> TextHead:
        """What reads the names."""
        return self.conv_seg.head

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.words.class_names

    def set_classes(self, classes: Sequence[str]) -> None:
        """Read other class names, without training.

        Raises:
            ValueError: see ``vptx.mappings.TextHead.set_classes``; fewer than two.
        """
        if len(classes) < 2:
            raise ValueError(f'{type(self).__name__} needs two class names or more, not {list(classes)}')
        self.words.set_classes(classes)
        self.num_classes = self.out_channels = self.words.num_classes


def _is_of_classifier(start: dict) -> bool:
    """Whether it says how ``conv_seg`` begins, and nothing else."""
    return start.get('override', {}).get('name') == 'conv_seg'


@MODELS.register_module()
class TextSegHead(ReadsWords):
    """Class names alone, on a map of the joint space: nothing trains but a prompter of the names, if there is one.

    Source: Zhou et al. (MaskCLIP), ECCV 2022, https://arxiv.org/abs/2112.01071.

    Args:
        in_channels: d.
        words: of ``ReadsWords``.
        **options: of mmseg's ``BaseDecodeHead``; ``dropout_ratio`` is 0 by default.
    """

    def __init__(self, in_channels: int, words: dict, **options: Any) -> None:
        options = dict(dict(channels=in_channels, dropout_ratio=0), **options)
        super().__init__(words, in_channels=in_channels, **options)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Feature maps -> (B, C, H, W)"""
        return self.cls_seg(self._transform_inputs(inputs))


@MODELS.register_module()
class TextSETRUPHead(ReadsWords, SETRUPHead):
    """SETR's progressive up-sampling, ``channels=d``, with class names as its classifier.

    Maps (B, D, h, w) -> logits (B, C, H, W).

    Source: Zheng et al. (SETR), CVPR 2021, https://arxiv.org/abs/2012.15840; Zhou et al. (MaskCLIP), ECCV 2022,
    https://arxiv.org/abs/2112.01071.

    Args:
        words, channels: of ``ReadsWords``.
        **options: of mmseg's ``SETRUPHead``.
    """
