"""What all networks of timm have in common: they are built by name, take weights, and say how their pixels look.

https://github.com/huggingface/pytorch-image-models
"""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

import timm
from timm.data import ImageNetInfo, infer_imagenet_subset, resolve_data_config
from timm.layers import HybridEmbed, PatchEmbed
from torch import Tensor, nn

from vptx.backbones.base import Net, count_channels, measure_stem
from vptx.weights import load_weights

__all__ = ['TimmNet', 'TimmTransformer', 'divides', 'find_owner']


class TimmNet(Net):
    """A network of timm; the base class of the wrappers of its families.

    Args:
        model: a timm name such as ``'vit_base_patch16_224.orig_in21k'``, or a built model.
        weights: ``'timm://NAME'`` or a file; its format is recognised by its content, see
            ``load_weights``. None leaves them as they are: random, for a name.
        positions: how those of the weights are resized to another image size, ``'bicubic'`` or ``'bilinear'``.
        fresh: patterns of parts that do not take their weights, e.g. ``['norm', 'fc_norm']``.
        **arguments: of ``timm.create_model`` for a name: ``num_classes`` (0 without), ``depth``, ...

    Attributes:
        families: the classes of timm that it wraps.
        rewritten: the methods of these that it computes itself, so that these must not be overridden.
        built_with: arguments of a model built by name, unless others are given.

    Raises:
        ValueError: a name that timm does not know, a model of another family, or weights that do not fit.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = ()
    rewritten: ClassVar[tuple[str, ...]] = ('forward', 'forward_features')
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
            known = [f'{kind.__name__}s' for kind in self.families if kind.__base__ not in self.families]
            raise ValueError(
                f'{type(self).__name__} wraps timm {" and ".join(known) or "classifiers without another net"}, not '
                f'{_kind(model)}{self.reason(model)}'
            )
        self.model = model
        if weights:
            load_weights(model, weights, positions, fresh)
        # Only a network made by create_model has one; for others, timm's own defaults hold.
        config: dict[str, Any] = getattr(model, 'pretrained_cfg', None) or {}
        pixels = resolve_data_config(pretrained_cfg=config, model=model)
        self.stem = config.get('first_conv') or _first_convolution(model)
        self.input_size: tuple[int, int] = tuple(pixels['input_size'][1:])
        self.facts = dict(
            name=name or '.'.join(filter(None, map(config.get, ('architecture', 'tag')))) or f'timm.{_kind(model)}',
            mean=tuple(pixels['mean']),
            std=tuple(pixels['std']),
            stem=measure_stem(model, self.stem),
            channels=count_channels(model, self.stem),
            classes=model.num_classes,
        )

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, cls.families) and not cls.overridden(model)

    @classmethod
    def overridden(cls, model: nn.Module) -> tuple[str, ...]:
        if not isinstance(model, cls.families):
            return ()
        return tuple(
            name for name in cls.rewritten if name in vars(model) or find_owner(model, name) not in cls.families
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        # By their number alone; a classifier that is of no ImageNet has none of their numbers.
        subset = infer_imagenet_subset(dict(num_classes=self.model.num_classes))
        return tuple(ImageNetInfo(subset).label_descriptions()) if subset else ()

    @property
    def classifier(self) -> nn.Module | None:
        found = self.model.get_classifier()
        return nn.ModuleList(found) if isinstance(found, tuple) else found

    def logits(self, features: Any) -> Tensor:
        """What ``forward_features`` returned -> logits (B, C), by the library's own head.

        Raises:
            ValueError: a head that gives several outputs.
        """
        output = self.model.forward_head(features)
        if not isinstance(output, Tensor):
            raise ValueError(
                f'forward_head of {self.geometry.name} gives {len(output)} outputs in training, and one loss takes '
                'logits: model.set_distilled_training(False), or read features with another readout'
            )
        return output

    @classmethod
    def _create(cls, name: str, arguments: dict) -> nn.Module:
        if not timm.is_model(name.partition('.')[0]):
            near = get_close_matches(name, timm.list_models() + timm.list_pretrained(), n=5)
            raise ValueError(f"timm has no network '{name}'. Nearest: {', '.join(near) or 'none'}")
        return timm.create_model(name, **{**cls.built_with, **arguments})


def _kind(model: nn.Module) -> str:
    return type(model).__name__


def find_owner(model: nn.Module, method: str) -> type:
    """The class from which ``model`` has the method."""
    return next(kind for kind in type(model).__mro__ if method in vars(kind))


def _first_convolution(model: nn.Module) -> str:
    return next((name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)), '')


class TimmTransformer(TimmNet):
    """A transformer of timm: patches, blocks and a final norm, as its families name them alike.

    Args:
        model: as of ``TimmNet``.
        **others: as of ``TimmNet``.
    """

    around: Mapping[str, str] = dict(embed='patch_embed', norm='norm')

    @property
    def _patch_embed(self) -> nn.Module:
        return self.model.patch_embed

    def module_of(self, layer: int) -> nn.Module:
        return self.model.blocks[layer]

    @classmethod
    def _create(cls, name: str, arguments: dict) -> nn.Module:
        model = super()._create(name, arguments)
        embed = getattr(model, 'patch_embed', None)
        # SigLIP's patches of 14 px leave out the last of 384: timm allows that of the one size it was built for.
        if 'dynamic_img_size' not in arguments and isinstance(embed, PatchEmbed) and not divides(embed, embed.img_size):
            model = super()._create(name, dict(arguments, dynamic_img_size=False))
        return model

    def _embed_patches(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, 3, H, W) -> what the patch embedding makes of it, and the (H', W') of its patches.

        Raises:
            ValueError: an image size that the network cannot take.
        """
        embed, size = self._patch_embed, tuple(image.shape[-2:])
        if size != self.geometry.image and not self.geometry.any_size:
            raise ValueError(self._refusal(size))
        try:
            patches = embed(image)
        except AssertionError as error:
            raise ValueError(self._refusal(size)) from error
        if patches.dim() == 4:  # (B, H', W', D)
            return patches, (patches.shape[1], patches.shape[2])
        grid = embed.dynamic_feat_size(size)
        if grid[0] * grid[1] != patches.shape[1]:
            raise ValueError(self._refusal(size))
        return patches, (grid[0], grid[1])

    def _refusal(self, size: tuple[int, ...]) -> str:
        facts = self.geometry
        if self.geometry.any_size or not divides(self._patch_embed, size):
            return (
                f'patches of {facts.patch[0]} x {facts.patch[1]} px do not divide an image of {size[0]} x {size[1]} px'
            )
        dynamic = ' or with dynamic_img_size=True' if hasattr(self.model, 'dynamic_img_size') else ''
        return (
            f'an image of {size[0]} x {size[1]} px, but {facts.name} was built for {facts.image[0]} x '
            f'{facts.image[1]} px: build it with img_size=...{dynamic}'
        )

    def patch_modules(self) -> tuple[Callable[[Tensor], Tensor], nn.Module | None]:
        embed = self._patch_embed
        if isinstance(embed, HybridEmbed):
            return (lambda image: embed.proj(embed.backbone(image))), None
        return embed.proj, embed.norm

    def finish(self, tokens: Tensor) -> Tensor:
        return self.model.norm(tokens)


def divides(embed: nn.Module, size: Sequence[int]) -> bool:
    """Whether patches divide an image of that size, or those that lack some of it are filled up."""
    patch = embed.feat_ratio(as_scalar=False)
    return embed.dynamic_img_pad or not any(side % step for side, step in zip(size, patch, strict=True))
