"""The model that goes into a file: pixels in, logits out, everything between them inside."""

from collections.abc import Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vptx.attach import prompted_network

__all__ = ['Deployed', 'check_repeatable', 'evaluated']


class Deployed(nn.Module):
    """A classifier or a segmentor with its pixel normalisation: RGB images (B, 3, H, W) -> logits (B, C), or
    (B, C, H, W) of a segmentor.

    Args:
        model: a model that ``vptx.attach`` returned, or one of mmpretrain or mmsegmentation with a prompted
            backbone.
        size: H, W of the images; a segmentor takes each of them as a whole.
        uint8: whether pixels are whole numbers from 0 to 255, or else numbers in [0, 1].

    Attributes:
        mean, std: (3, 1, 1), of pixels in [0, 1], RGB.
        reverse: whether the model takes BGR.

    Raises:
        ValueError: the pixel normalisation is unknown.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, size: Sequence[int], uint8: bool = False) -> None:
        super().__init__()
        self.model, self.size, self.uint8 = model, tuple(size), uint8
        network = prompted_network(model)
        preprocessor = getattr(model, 'data_preprocessor', None)
        self.reverse = False
        if preprocessor is None:
            mean, std = (torch.tensor(values) for values in (network.net.geometry.mean, network.net.geometry.std))
        else:  # images are loaded as BGR; what the preprocessor has is in the order in which the model takes them
            converts = any(getattr(preprocessor, name, False) for name in ('to_rgb', '_channel_conversion'))
            self.reverse = not converts
            channels = network.net.geometry.channels
            found = [getattr(preprocessor, name, None) for name in ('mean', 'std')]
            mean, std = (
                torch.full((channels,), missing) if values is None else values.flatten().float() / 255
                for values, missing in zip(found, (0.0, 1 / 255), strict=True)
            )
        if not len(mean):
            raise ValueError(
                f'the pixel normalisation of {network.net.geometry.name} is unknown: give the model a '
                'data_preprocessor with mean and std'
            )
        reference = next(model.parameters())
        for name, values in (('mean', mean), ('std', std)):
            values = values.flip(0) if self.reverse else values
            self.register_buffer(name, values[:, None, None].to(reference.device, torch.float32))

    @property
    def segments(self) -> bool:
        return hasattr(self.model, 'decode_head')

    def normalised(self, image: Tensor) -> Tensor:
        """What the model itself takes."""
        pixels = image.float() / 255 if self.uint8 else image
        pixels = (pixels - self.mean) / self.std
        pixels = pixels.flip(1) if self.reverse else pixels
        return pixels.to(next(self.model.parameters()).dtype)

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(self.normalised(image)).float()

    def logits(self, inputs: Tensor) -> Tensor:
        """Of images as the model itself takes them."""
        if self.segments:
            return self.model.encode_decode(inputs, [dict(img_shape=self.size, ori_shape=self.size)])
        if hasattr(self.model, 'extract_feat'):  # of mmpretrain
            return self.model(inputs, mode='tensor')
        output = self.model(inputs)
        output = getattr(output, 'logits', output)  # of transformers
        if not isinstance(output, Tensor):
            raise ValueError(
                f'{prompted_network(self.model).net.geometry.name} gives a {type(output).__name__} and no logits: '
                'export a model with a classifier or a decode head'
            )
        return output

    def example(self, number: int = 2) -> Tensor:
        """Random images of the kind that it takes, always the same."""
        generator, network = torch.Generator().manual_seed(0), prompted_network(self.model)
        image = torch.rand(number, network.net.geometry.channels, *self.size, generator=generator).to(self.mean.device)
        return (image * 255).round().to(torch.uint8) if self.uint8 else image


@torch.no_grad()
def check_repeatable(deployed: Deployed) -> None:
    """Refuse a model that computes with random numbers: a file would keep those of one moment, or draw others."""
    image = deployed.example()
    if not torch.equal(deployed(image), deployed(image)):
        prompter = type(prompted_network(deployed.model).prompter).__name__
        raise ValueError(
            f'this model gives other logits when it is asked again: {prompter} draws random numbers. It cannot be '
            'exported; choose settings under which it is the same for every image'
        )


@contextmanager
def evaluated(model: nn.Module):
    """``model`` in eval mode, and each of its modules in its own mode again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
