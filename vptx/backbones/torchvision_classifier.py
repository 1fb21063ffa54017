"""torchvision's classifiers that have no file of their own: ResNet, EfficientNet, RegNet, Inception, MaxViT, ...

https://github.com/pytorch/vision, ``torchvision/models``. They have no method in common but ``forward``.
"""

from functools import cache
from typing import Any, ClassVar

import torchvision
from torch import Tensor, nn
from torchvision.models import MaxVit, get_model, get_model_builder, get_model_weights, list_models

from vptx.backbones.base import Context, count_channels, measure_stem
from vptx.backbones.whole import WholeNet
from vptx.geometry import Geometry
from vptx.registry import NETS


@NETS.register_module()
class TorchvisionClassifier(WholeNet):
    """Any other classifier of torchvision, by its image and its logits.

    Its batch norms stay in eval mode and keep their statistics, unless ``tune`` names them.

    Args:
        model: a torchvision name such as ``'resnet50'``, or a built model.
        img_size: height and width of the images to come, in pixels, by default its attribute ``image_size``, if it has
            one, or those of its weights or of the first model of its class. Prompts around an image, or in
            further channels, are made for one size.
        **arguments: of ``torchvision.models.get_model`` for a name, such as ``weights='IMAGENET1K_V2'``.

    Raises:
        ValueError: a name that torchvision does not know, or a model that is none of its classifiers.
    """

    example: ClassVar[dict[str, Any]] = dict(model='resnet18')
    what = "torchvision's classifiers"

    def __init__(self, model: str | nn.Module, img_size: int | tuple[int, int] | None = None, **arguments) -> None:
        name = model if isinstance(model, str) else ''
        super().__init__(get_model(model, **arguments) if isinstance(model, str) else model)
        pixels = get_model_weights(name or _models_of(self.model)[0]).DEFAULT.transforms()
        size = img_size or getattr(self.model, 'image_size', None) or pixels.crop_size[0]
        if isinstance(self.model, MaxVit):  # stem and first block halve it
            size = tuple(4 * side for side in self.model.blocks[0].grid_size)
        # Some make other channels of the first three, and look at no more.
        stem = None if getattr(self.model, 'transform_input', False) else measure_stem(self.model, self.stem)
        self.geometry = Geometry(
            name=name or f'torchvision.{type(self.model).__name__}',
            widths=(),
            patch=(1, 1),
            image=(size, size) if isinstance(size, int) else tuple(size),
            prefix=0,
            tokens=0,
            mean=tuple(pixels.mean),
            std=tuple(pixels.std),
            doors=frozenset({'image', 'logits'}),
            any_size=not isinstance(self.model, MaxVit),
            stem=stem,
            channels=count_channels(self.model, self.stem),
            classes=_count_classes(self.classifier),
        )

    @classmethod
    def is_one(cls, model: nn.Module) -> bool:
        return bool(_models_of(model))

    @property
    def classifier(self) -> nn.Module | None:
        """The last linear map, in the last part; that may be a convolution of one cell."""
        *_, last = self.model.children()
        return next((part for part in reversed([*last.modules()]) if isinstance(part, nn.Linear | nn.Conv2d)), None)

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        output = super().classify(tokens, context)
        if not isinstance(output, Tensor):
            raise ValueError(
                f'{self.geometry.name} gives {len(output)} outputs in training, of auxiliary classifiers too, and one '
                'loss takes logits: set model.aux_logits = False, or leave it frozen but for its last layer'
            )
        return output


@cache
def _classes() -> dict[str, type[nn.Module]]:
    """What the builders of torchvision's classifiers return, by their names."""
    names = list_models(module=torchvision.models)
    return {name: get_model_builder(name).__annotations__['return'] for name in names}


def _models_of(model: nn.Module) -> list[str]:
    """torchvision's names for models of this class."""
    return [name for name, kind in _classes().items() if isinstance(model, kind)]


def _count_classes(classifier: nn.Module | None) -> int:
    return getattr(classifier, 'out_features', getattr(classifier, 'out_channels', 0))
