"""All networks of timm that classify and have no file of their own: EfficientNet, RegNet, MaxViT, XCiT, MLP-Mixer, ...

https://github.com/huggingface/pytorch-image-models. Each of them is ``forward_head(forward_features(image))``, and
these two are called. What is between their layers differs, so prompts act on the image, and label mappings on the
logits. The features are read as tokens, one for each cell of the last map, wherever they have that shape.
"""

from dataclasses import replace
from typing import Any, ClassVar

from timm.layers import SelectAdaptivePool2d
from timm.models import get_model_input_config, get_pretrained_cfg
from torch import Tensor, nn

from vptx.backbones.base import Context
from vptx.backbones.timm_net import TimmNet, find_owner
from vptx.backbones.whole import Output
from vptx.geometry import Geometry
from vptx.readout import OWN
from vptx.registry import NETS


@NETS.register_module()
class TimmClassifier(TimmNet):
    """Any other classifier of timm: ConvNets, hybrids, transformers that merge patches, MLPs.

    Its batch norms stay in eval mode and keep their statistics, unless ``tune`` names them.

    Args:
        model: a timm name such as ``'resnet50.a1_in1k'``, or a built model.
        img_size: height and width of the images to come, in pixels, by default of those that the weights were made
            for. Most take any; prompts around an image, or in further channels, are made for one. A network of one
            size is built for it, by name.
        **others: of ``TimmNet``, and of ``timm.create_model`` for a name.

    Raises:
        ValueError: a network built without pooling.
    """

    rewritten: ClassVar[tuple[str, ...]] = ('forward',)
    example: ClassVar[dict[str, Any]] = dict(model='resnet18')

    def __init__(self, model: str | nn.Module, img_size: int | tuple[int, int] | None = None, **others) -> None:
        if isinstance(model, str) and img_size is not None and _is_of_one_size(model):
            others['img_size'] = img_size
        super().__init__(model, **others)
        model, facts = self.model, get_model_input_config(self.model)
        size = facts['input_size'][1:] if img_size is None else img_size
        self.has_class_token = getattr(model, 'cls_token', None) is not None
        self._is_nhwc = getattr(model, 'output_fmt', None) == 'NHWC'
        self.geometry = Geometry(
            widths=(),
            patch=(1, 1),
            image=(size, size) if isinstance(size, int) else tuple(size),
            prefix=getattr(model, 'num_prefix_tokens', int(self.has_class_token)),
            tokens=0,
            doors=frozenset({'image', 'logits'}),
            any_size=not facts['fixed_input_size'],
            **self.facts,
        )
        rows, columns = self._find_grid(self.geometry.image)
        self.geometry = replace(self.geometry, tokens=self.geometry.prefix + rows * columns)
        pooling, first = _find_pooling(model)
        if pooling == '':
            raise ValueError(f"{self.geometry.name} was built with global_pool='': leave that to readout='map'")
        # What pools first makes the same of an average as of a map of one cell.
        self._pools_first = first and pooling in ('avg', 'fast', 'fastavg')
        self.readout = 'mean' if self._pools_first else OWN

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return cls._is_one(model) and hasattr(model, 'get_classifier') and not cls.overridden(model)

    @classmethod
    def _is_one(cls, model: nn.Module) -> bool:
        """Whether it is of timm, and of no family that has a file of its own."""
        others = [net.families for net in NETS.module_dict.values() if issubclass(net, TimmNet)]
        return _is_of_timm(type(model)) and not any(isinstance(model, families) for families in others)

    @classmethod
    def overridden(cls, model: nn.Module) -> tuple[str, ...]:
        if not cls._is_one(model):
            return ()
        own = 'forward' in vars(model) or not find_owner(model, 'forward').__module__.startswith('timm.')
        return ('forward',) if own else ()

    @classmethod
    def reason(cls, model: nn.Module) -> str:
        if cls._is_one(model) and not hasattr(model, 'get_classifier'):
            return '. It is a network of timm that does not classify: it has no get_classifier and no logits'
        return super().reason(model)

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        """(B, 3, H, W) -> the cells of the last map (B, K + H' * W', D); none of features that are no map."""
        facts, (height, width) = self.geometry, image.shape[-2:]
        if not facts.any_size and (height, width) != facts.image:
            raise ValueError(
                f'an image of {height} x {width} px, but {facts.name} was built for {facts.image[0]} x '
                f'{facts.image[1]} px: build it with img_size=...'
            )
        value = self.model.forward_features(image)
        rows, columns = self._find_grid((height, width))
        if isinstance(value, Tensor) and value.dim() == 4:
            cells = value if self._is_nhwc else value.permute(0, 2, 3, 1)
            return cells.flatten(1, 2), Output((cells.shape[1], cells.shape[2]), None, value)
        if isinstance(value, Tensor) and value.shape[1] == facts.prefix + rows * columns:
            return value, Output((rows, columns), None, value)
        return image.new_zeros(image.shape[0], 0, 1), Output((0, 0), None, value)

    def _find_grid(self, image: tuple[int, int]) -> tuple[int, int]:
        step = self.model.feature_info[-1]['reduction']
        return -(-image[0] // step), -(-image[1] // step)

    def finish(self, tokens: Tensor) -> Tensor:
        return tokens

    def finish_pooled(self, feature: Tensor) -> Tensor:
        if not self._pools_first:
            return feature
        cell = feature[:, None, None] if self._is_nhwc else feature[:, :, None, None]
        return self.model.forward_head(cell, pre_logits=True)

    def features(self, tokens: Tensor, context: Context) -> Any:
        assert isinstance(context, Output)
        value, batch = context.value, tokens.shape[0]  # of no images, this is that of one
        return value[:batch] if isinstance(value, Tensor) else [part[:batch] for part in value]

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        assert isinstance(context, Output)
        model, mode = self.model, self.model.training
        if not getattr(model, 'drop_rate', 0) or getattr(model, 'distilled_training', False):
            return self.logits(context.value)
        # A dropout before the classifier may be a function in the mode of the whole network. It acts as the classifier.
        model.training = getattr(model.get_classifier(), 'training', mode)
        try:
            return self.logits(context.value)
        finally:
            model.training = mode


def _is_of_timm(kind: type) -> bool:
    return any(base.__module__.startswith('timm.models.') for base in kind.__mro__)


def _is_of_one_size(name: str) -> bool:
    config = get_pretrained_cfg(name)
    return config is not None and config.fixed_input_size


def _find_pooling(model: nn.Module) -> tuple[str, bool]:
    """The kind of pooling, by timm's name, and whether it is the first thing that is done to a map."""
    head = getattr(model, 'head', None)
    for part in (model, head):
        pooling = getattr(part, 'global_pool', None)
        if isinstance(pooling, SelectAdaptivePool2d):
            # Two ways of a convolution before it.
            widened = hasattr(part, 'in_conv') or getattr(part, 'in_features', model.num_features) != model.num_features
            return pooling.pool_type, not widened
    named = (getattr(model, 'global_pool', None), getattr(head, 'pool_type', None))
    return next((kind for kind in named if isinstance(kind, str)), 'avg'), False
