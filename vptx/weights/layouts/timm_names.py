"""timm's own names, and all that timm's converters bring to them.

``checkpoint_filter_fn`` of the model's family, which timm applies to what it downloads: MAE, DINO, DINOv2, DeiT,
OpenAI's and open_clip's CLIP towers, the authors' Swin and ConvNeXt; torchvision's ResNet has timm's names. It also
interpolates: positions, relative position tables, patches of another size.
"""

import sys
from collections.abc import Collection, Mapping
from inspect import signature
from typing import Any

from torch import Tensor, nn

NAME = "timm's names"
ALSO = "MAE, MoCo v3, DINO, DINOv2, DeiT, CLIP, the authors' Swin and ConvNeXt, torchvision's ResNet"

# How positions are interpolated: as timm does, or as the VPT paper does, which is scipy.ndimage.zoom(order=1).
POSITIONS: dict[str, dict[str, Any]] = {
    'bicubic': dict(interpolation='bicubic', antialias=True),
    'bilinear': dict(interpolation='bilinear', antialias=False, align_corners=True),
}


def knows(names: Collection[str]) -> bool:
    return True  # the last to be asked


def convert(tensors: Mapping[str, Tensor], model: nn.Module, positions: str = 'bicubic') -> dict[str, Tensor]:
    """Names and sizes as ``model`` has them.

    Raises:
        ValueError: tensors that the converter of the model's family cannot make fit.
    """
    for kind in type(model).__mro__:
        converter = getattr(sys.modules[kind.__module__], 'checkpoint_filter_fn', None)
        if converter:
            break
    else:
        return dict(tensors)
    # adapt_layer_scale: DeiT III calls its scales gamma_1. No other file has that name.
    wanted = {**POSITIONS[positions], 'adapt_layer_scale': True}
    options = {name: value for name, value in wanted.items() if name in signature(converter).parameters}
    try:
        return dict(converter(dict(tensors), model, **options))
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError, AssertionError) as error:
        found = ', '.join(list(tensors)[:5])
        raise ValueError(
            f'the tensors {found}, ... cannot be made those of {type(model).__name__}: another architecture, depth or '
            f'width? ({type(error).__name__}: {error})'
        ) from error


def adapt_stems(tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Kernels of three channels for the channels that the model's images have, where these are not three."""
    stems = (getattr(model, 'pretrained_cfg', None) or {}).get('first_conv') or ()
    from timm.models import adapt_input_conv  # not on `import vptx`: it takes a second

    adapted, own = {}, model.state_dict()
    for name in (f'{stem}.weight' for stem in ([stems] if isinstance(stems, str) else stems)):
        if name in own and name in tensors and tensors[name].shape[1] == 3 != own[name].shape[1]:
            adapted[name] = adapt_input_conv(own[name].shape[1], tensors[name])
    return adapted


def classifiers(model: nn.Module) -> list[str]:
    """Names of the modules that classify: ``['head']`` in a ViT, ``['head.fc']`` in a Swin, ``['fc']`` in a ResNet."""
    found = model.get_classifier()
    heads = found if isinstance(found, tuple) else (found,)
    return [name for name, module in model.named_modules() if any(module is head for head in heads)]
