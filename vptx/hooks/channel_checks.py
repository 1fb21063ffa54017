"""Whether images, data preprocessor and network have the same number of channels."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from vptx.attach import find_prompted_network

__all__ = ['check_images', 'check_preprocessor']

_HOW = 'in_chans of a timm network, in_channels of one of OpenMMLab, num_channels of one of transformers'


def check_preprocessor(model: nn.Module) -> None:
    """Refuse a data preprocessor whose mean and std are of other channels than the network's.

    Raises:
        ValueError: names both numbers.
    """
    network, preprocessor = find_prompted_network(model), getattr(model, 'data_preprocessor', None)
    if network is None or preprocessor is None:
        return
    channels, name = network.net.geometry.channels, network.net.geometry.name
    for what in ('mean', 'std'):
        values: Any = getattr(preprocessor, what, None)
        if isinstance(values, Tensor) and values.numel() not in (1, channels):
            raise ValueError(
                f'data_preprocessor.{what} has {values.numel()} values, and {name} takes images of {channels} '
                f'channels: give it {channels}, or build the network with {values.numel()} channels ({_HOW})'
            )


def check_images(model: nn.Module, images: Sequence[Tensor], names: Sequence[str]) -> None:
    """Refuse images (C, H, W) of other channels than the network's.

    Raises:
        ValueError: names the file and both numbers.
    """
    network = find_prompted_network(model)
    if network is None:
        return
    channels, name = network.net.geometry.channels, network.net.geometry.name
    for image, file in zip(images, names, strict=False):
        if image.dim() == 3 and image.shape[0] != channels:
            raise ValueError(
                f'{file} has {image.shape[0]} channels as it is loaded, and {name} takes {channels}: load as many '
                f"(dict(type='LoadBands', channels=..., bands=[...])), or build the network with {image.shape[0]} "
                f'({_HOW}) and give the data_preprocessor mean and std of each'
            )
