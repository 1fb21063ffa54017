"""What all networks of timm have in common: they are built by name, take weights, and say how their pixels look.

https://github.com/huggingface/pytorch-image-models
"""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, ClassVar

import timm
from timm.data import ImageNetInfo, infer_imagenet_subset
from torch import Tensor, nn

from vptx.backbones.base import IN_BLOCK, Net, count_channels, find_sites, measure_stem
from vptx.geometry import Site
from vptx.weights import load_weights

from . import vit_mini  # noqa: F401  registers our own networks with timm

__all__ = ['TimmNet', 'TimmTransformer']


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
            channels=count_channels(model, self.stem),
            classes=model.num_classes,
        )

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, cls.families)

    @property
    def class_names(self) -> tuple[str, ...]:
        # By their number alone; a classifier that is of no ImageNet has none of their numbers.
        subset = infer_imagenet_subset(dict(num_classes=self.model.num_classes))
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


class TimmTransformer(TimmNet):
    """A transformer of timm: patches, blocks and a final norm, as its families name them alike."""

    def _block(self, layer: int) -> nn.Module:
        return self.model.blocks[layer]

    def _find_sites(self, widths: tuple[int, ...]) -> tuple[Site, ...]:
        inside = [site for layer, width in enumerate(widths) for site in find_sites(self._block(layer), layer, width)]
        return (Site('embed', None, 0, widths[0]), *inside, Site('norm', None, widths[-1], widths[-1]))

    def module_at(self, site: Site) -> nn.Module:
        if site.layer is None:
            return self.model.get_submodule('patch_embed' if site.name == 'embed' else 'norm')
        return self._block(site.layer).get_submodule(IN_BLOCK[site.name])

    def _grid(self, image: Tensor) -> tuple[int, int]:
        """(H', W') of an image (B, 3, H, W) that the network can take."""
        patch, size = self.geometry.patch, tuple(image.shape[-2:])
        if size[0] % patch[0] or size[1] % patch[1]:
            raise ValueError(
                f'patches of {patch[0]} x {patch[1]} px do not divide an image of {size[0]} x {size[1]} px'
            )
        if size != self.geometry.image and not self.geometry.any_size:
            dynamic = ' or with dynamic_img_size=True' if hasattr(self.model, 'dynamic_img_size') else ''
            raise ValueError(
                f'an image of {size[0]} x {size[1]} px, but {self.geometry.name} was built for '
                f'{self.geometry.image[0]} x {self.geometry.image[1]} px: build it with img_size=...{dynamic}'
            )
        return size[0] // patch[0], size[1] // patch[1]

    def embed_pixels(self, strip: Tensor) -> Tensor:
        embed = self.model.patch_embed
        return embed.norm(embed.proj(strip[None]).flatten(2).transpose(1, 2))[0]

    def finish(self, tokens: Tensor) -> Tensor:
        return self.model.norm(tokens)
