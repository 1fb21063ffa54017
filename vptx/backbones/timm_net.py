"""What all networks of timm have in common: they are built by name, take weights, and say how their pixels look.

https://github.com/huggingface/pytorch-image-models
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

import timm
from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import nn

from vptx.backbones.base import Net, measure_stem
from vptx.weights import load_weights

from . import vit_mini  # noqa: F401  registers our own networks with timm

__all__ = ['TimmNet']


class TimmNet(Net):
    """A network of timm, taken apart; the base of those of its families.

    Args:
        model: a timm name such as ``'vit_base_patch16_224.orig_in21k'``, or a built model.
        weights: ``'timm://NAME'`` or a file; its format is told by its content, see
            :func:`~vptx.weights.load_weights`. None leaves them as they are: random, for a name.
        positions: how those of the weights are brought to another image size, ``'bicubic'`` or ``'bilinear'``.
        fresh: patterns of parts that do not take their weights, e.g. ``['norm', 'fc_norm']``.
        **arguments: of ``timm.create_model`` for a name: ``num_classes`` (0 without), ``depth``, ...

    Attributes:
        families: the classes of timm that it takes apart.
        built_with: arguments of a model built by name, unless others are given.

    Raises:
        ValueError: a name that timm does not know, a model of another family, or weights that do not fit.
    """

    families: ClassVar[tuple[type[nn.Module], ...]]
    built_with: ClassVar[dict[str, Any]] = dict(num_classes=0)

    def __init__(
        self,
        model: str | nn.Module,
        weights: str | None = None,
        positions: str = 'bicubic',
        fresh: Sequence[str] = (),
        **arguments,
    ) -> None:
        super().__init__()
        name = model if isinstance(model, str) else None
        if isinstance(model, str):
            model = self._create(model, arguments)
        if not self.knows(model):
            known = ' and '.join(f'{family.__name__}s' for family in self.families)
            raise ValueError(f'{type(self).__name__} takes timm {known} apart, not {type(model).__name__}')
        self.model = model
        if weights:
            load_weights(model, weights, positions, fresh)
        config: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
        self.stem = config['first_conv']
        self.facts = dict(
            name=name or '.'.join(filter(None, (config.get('architecture'), config.get('tag')))),
            mean=tuple(config['mean']),
            std=tuple(config['std']),
            stem=measure_stem(model, self.stem),
            classes=model.num_classes,
        )

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, cls.families)

    @property
    def class_names(self) -> tuple[str, ...]:
        # By their number alone; a classifier that is of no ImageNet has none of their numbers.
        subset = infer_imagenet_subset(dict(num_classes=self.geometry.classes))
        return tuple(ImageNetInfo(subset).label_descriptions()) if subset else ()

    @property
    def classifier(self) -> nn.Module | None:
        found = self.model.get_classifier()
        return nn.ModuleList(found) if isinstance(found, tuple) else found

    @classmethod
    def _create(cls, name: str, arguments: dict) -> nn.Module:
        if not timm.is_model(name.partition('.')[0]):
            near = get_close_matches(name, timm.list_models() + timm.list_pretrained(), n=5)
            raise ValueError(f"timm has no network '{name}'. Nearest: {', '.join(near) or 'none'}")
        return timm.create_model(name, **{**cls.built_with, **arguments})
