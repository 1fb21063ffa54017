"""timm's convolutional networks: ResNet, ResNeXt and others of their family, ResNet v2 (BiT), ConvNeXt, CLIP's ResNets.

https://github.com/huggingface/pytorch-image-models, ``timm/models/resnet.py``, ``resnetv2.py``, ``convnext.py``. They
have no tokens that a prompt could be added to: door 1 is all that prompts can enter by. What the last layer gives is
read as N tokens all the same, one for each cell of its map, so every readout but those of a class token works.
"""

from typing import Any, ClassVar

from timm.layers import AttentionPool2d, RotAttentionPool2d
from timm.models.byobnet import ByobNet
from timm.models.convnext import ConvNeXt
from timm.models.resnet import ResNet
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn

from vptx.backbones.base import Context
from vptx.backbones.timm_net import TimmNet
from vptx.geometry import Geometry
from vptx.registry import NETS


@NETS.register_module()
class TimmConvNet(TimmNet):
    """Convolutional networks of timm: ResNet, ResNeXt, ResNet v2, ConvNeXt, ByobNet (CLIP's ``resnet50_clip``).

    Its batch norms stay in eval mode and keep their statistics, unless ``tune`` names them.

    Args:
        model: a timm name such as ``'resnet50.a1_in1k'``, or a built model.
        img_size: height and width of the images to come, in pixels, by default of those that the weights were made
            for. They take any; prompts around an image, or in further channels of it, are made for one.
        **others: of :class:`~vptx.backbones.timm_net.TimmNet`, and of ``timm.create_model`` for a name.

    Raises:
        ValueError: a network built without pooling.
    """

    families: ClassVar[tuple[type[nn.Module], ...]] = (ResNet, ResNetV2, ConvNeXt, ByobNet)
    rewritten: ClassVar[tuple[str, ...]] = ('forward',)
    example: ClassVar[dict[str, Any]] = dict(model='resnet18')
    has_class_token = False

    def __init__(self, model: str | nn.Module, img_size: int | tuple[int, int] | None = None, **others) -> None:
        super().__init__(model, **others)
        model, last = self.model, self.model.feature_info[-1]
        if img_size is None:
            img_size = self.input_size
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        self.geometry = Geometry(
            widths=(),
            patch=(1, 1),
            image=(height, width),
            prefix=0,
            tokens=(height // last['reduction']) * (width // last['reduction']),
            doors=frozenset({'image', 'logits'}),
            **self.facts,
        )
        head = getattr(model, 'head', None)
        self._attends = isinstance(head, (AttentionPool2d, RotAttentionPool2d))
        pooling = head if self._attends else getattr(model, 'global_pool', None) or head.global_pool
        if not pooling.pool_type:
            raise ValueError(f"{self.geometry.name} was built with global_pool='': leave that to readout='map'")
        self.readout = 'mean' if pooling.pool_type in ('avg', 'fast', 'fastavg') else 'logits'

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        """(B, 3, H, W) -> the cells of the last map (B, H' * W', D)."""
        features = self.model.forward_features(image)
        return features.flatten(2).transpose(1, 2), Context(tuple(features.shape[-2:]))

    def finish(self, tokens: Tensor) -> Tensor:
        return tokens

    def finish_pooled(self, feature: Tensor) -> Tensor:
        if self._attends:  # to all cells at once, so there is nothing after an average
            return feature
        # ConvNeXt has a norm after its pooling. The average of one cell is that cell.
        return self.model.forward_head(feature[:, :, None, None], pre_logits=True)

    def features(self, tokens: Tensor, context: Context) -> Tensor:
        return tokens.transpose(1, 2).unflatten(2, context.grid)

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        # ResNet's dropout is a function in the mode of the whole network; it does as the classifier that it feeds.
        model, mode, classifier = self.model, self.model.training, self.model.get_classifier()
        model.training = mode if classifier is None else classifier.training
        try:
            return model.forward_head(tokens.transpose(1, 2).unflatten(2, context.grid))
        finally:
            model.training = mode
