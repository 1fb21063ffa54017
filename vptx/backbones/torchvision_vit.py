"""torchvision's VisionTransformer, whose attention is ``torch.nn.MultiheadAttention``.

https://github.com/pytorch/vision, ``torchvision/models/vision_transformer.py``. It takes images of the one size that
it was built for. Its attention is called with more than one tensor, so it is no site for adapters or LoRA.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torchvision.models import VisionTransformer, ViT_B_16_Weights, get_model
from torchvision.models.vision_transformer import EncoderBlock

from vptx.backbones.base import Context, Net, count_channels, measure_stem
from vptx.backbones.memory import SelfAttention, Spelling
from vptx.geometry import Geometry
from vptx.registry import NETS


@NETS.register_module()
class TorchvisionViT(Net):
    """torchvision's VisionTransformer.

    Args:
        model: a torchvision name such as ``'vit_b_16'``, or a built model.
        **arguments: of ``torchvision.models.get_model`` for a name, such as ``weights='IMAGENET1K_V1'``.

    Raises:
        ValueError: a name that torchvision does not know, or a model of another family.
    """

    example: ClassVar[dict[str, Any]] = dict(model='vit_b_32')
    has_class_token = True
    readout = 'cls'
    stem = 'conv_proj'
    around: Mapping[str, str] = dict(norm='encoder.ln')
    replaced: Mapping[str, tuple[type[nn.Module], ...]] = {
        '': (EncoderBlock,),
        'ln_1': (nn.LayerNorm,),
        'self_attention': (nn.MultiheadAttention,),
        'self_attention.out_proj': (NonDynamicallyQuantizableLinear,),
    }

    def __init__(self, model: str | nn.Module, **arguments) -> None:
        super().__init__()
        name = model if isinstance(model, str) else ''
        network = get_model(model, **arguments) if isinstance(model, str) else model
        if not self.knows(network):
            raise ValueError(f'TorchvisionViT wraps torchvision VisionTransformers, not {type(network).__name__}')
        self.model = network
        layers, side = network.encoder.layers, network.image_size
        pixels = ViT_B_16_Weights.IMAGENET1K_V1.transforms()  # the same for all of its weights
        plain = all(self.is_known(block) for block in layers)
        sites = self.find_sites((network.hidden_dim,) * len(layers)) if plain else ()
        self.geometry = Geometry(
            name=name or f'torchvision.VisionTransformer, {len(layers)} x {network.hidden_dim}',
            widths=(network.hidden_dim,) * len(layers),
            patch=(network.patch_size, network.patch_size),
            image=(side, side),
            prefix=1,
            tokens=network.seq_length,
            mean=tuple(pixels.mean),
            std=tuple(pixels.std),
            doors=frozenset({'image', 'tokens', 'logits'} | ({'memory', 'inside'} if plain else set())),
            sites=sites,
            any_size=False,
            heads=tuple(block.self_attention.num_heads for block in layers) if plain else (),
            stem=measure_stem(network, self.stem),
            channels=count_channels(network, self.stem),
            classes=getattr(network.heads[-1], 'out_features', 0),
        )

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return isinstance(model, VisionTransformer) and not cls.overridden(model)

    @classmethod
    def overridden(cls, model: nn.Module) -> tuple[str, ...]:
        own = type(model).forward is not VisionTransformer.forward or 'forward' in vars(model)
        return ('forward',) if isinstance(model, VisionTransformer) and own else ()

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        model, side, patch = self.model, self.model.image_size, self.model.patch_size
        height, width = image.shape[-2:]
        if height % patch or width % patch:
            raise ValueError(f'patches of {patch} x {patch} px do not divide an image of {height} x {width} px')
        if (height, width) != (side, side):
            raise ValueError(
                f'an image of {height} x {width} px, but {self.geometry.name} was built for {side} x {side} px: build '
                'it with image_size=...'
            )
        tokens = model._process_input(image)
        tokens = torch.cat([model.class_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        grid = side // patch
        return model.encoder.dropout(tokens + model.encoder.pos_embedding), Context((grid, grid))

    def patch_modules(self) -> tuple[Callable[[Tensor], Tensor], nn.Module | None]:
        return self.model.conv_proj, None

    def module_of(self, layer: int) -> nn.Module:
        return self.model.encoder.layers[layer]

    def is_known(self, module: nn.Module) -> bool:
        return type(module) is EncoderBlock and type(module.self_attention) is nn.MultiheadAttention

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        return self.module_of(layer)(tokens)

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        block = self.module_of(layer)
        attn = block.self_attention
        dropout = attn.dropout if attn.training else 0.0
        return Spelling(
            block.ln_1,
            SelfAttention(attn.in_proj_weight, attn.in_proj_bias, attn.num_heads, dropout),
            lambda x: block.dropout(F.linear(x, attn.out_proj.weight, attn.out_proj.bias)),
            lambda x: x + block.mlp(block.ln_2(x)),
        )

    def finish(self, tokens: Tensor) -> Tensor:
        return self.model.encoder.ln(tokens)

    @property
    def classifier(self) -> nn.Module | None:
        return self.model.heads[-1]

    def finish_pooled(self, feature: Tensor) -> Tensor:
        return self.model.heads[:-1](feature)

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        return self.model.heads(tokens[:, 0])
