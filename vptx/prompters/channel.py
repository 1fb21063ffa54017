"""Channel prompts: the "concat-channel" location of Jia et al., "Visual Prompt Tuning", ECCV 2022, figure 5,
https://arxiv.org/abs/2203.12119

T learnt channels P follow the C of the image, three in the paper. The convolution that sees the image, the
stem, gets kernels for them, and trains:

    stem(x) = (W + dW) * x + V * P + b        dW (D, C, h, w), V (D, T, h, w), P (T, H, W)

The network is left as it is: what is learnt of the stem is dW, which begins at zero, and V, and it is the net that
adds them to its frozen W wherever it is asked for a stem (door 1). Decaying dW draws the stem to its pre-trained
kernels, not to zero. The paper finds this location far after the others (figure 5).
"""

from math import sqrt

import torch
from torch import Tensor, nn

from vptx.geometry import Geometry
from vptx.prompters.base import Prompter, check_whole
from vptx.prompters.pixels import check_size, pixel_statistics
from vptx.registry import PROMPTERS


@PROMPTERS.register_module()
class ChannelPrompter(Prompter):
    """Learnt channels after the image's, and the stem that sees them: T * H * W + D * (C + T) * h * w numbers.

    The bias of the stem, where it has one, is an ordinary parameter: ``tune=['patch_embed.proj.bias']``.

    Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, https://arxiv.org/abs/2203.12119, figure 5
    ("concat-channel").

    Args:
        num_channels: T.
        init: of the channels: ``'uniform'``, U(-v, v) with v = sqrt(6 / (C * h * w + D)), as published for a ViT, or
            ``'normalised'``, U(0, 1) normalised with the average of the network's means and standard deviations,
            as published for a ResNet.
        stem: how the kernels of the new channels begin: ``'uniform'``, as above, or ``'zero'``, so that training starts
            at the network as it is.

    Raises:
        ValueError: no whole number of channels, an unknown ``init`` or ``stem``; when bound, a network whose stem
            cannot take more channels; an image of another size than the network's.
    """

    doors = frozenset({'image'})

    def __init__(self, num_channels: int = 3, init: str = 'uniform', stem: str = 'uniform') -> None:
        super().__init__()
        if init not in ('uniform', 'normalised'):
            raise ValueError(f"init must be 'uniform' or 'normalised', not '{init}'")
        if stem not in ('uniform', 'zero'):
            raise ValueError(f"stem must be 'uniform' or 'zero', not '{stem}'")
        self.num_channels = check_whole('num_channels', num_channels)
        self.init = init
        self.stem_init = stem

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        if geometry.stem is None:
            raise ValueError(
                f'ChannelPrompter needs a stem that more channels can be put before, and that of {geometry.name} is no '
                'plain convolution'
            )
        self.size = geometry.image
        width, *kernel = geometry.stem
        own = geometry.channels
        bound = sqrt(6 / (own * kernel[0] * kernel[1] + width))
        channels = torch.empty(self.num_channels, *self.size)
        if self.init == 'uniform':
            channels.uniform_(-bound, bound)
        else:
            mean, std = (sum(values) / len(values) for values in pixel_statistics(geometry))
            channels.uniform_().sub_(mean).div_(std)
        change = torch.zeros(width, own + self.num_channels, *kernel)
        if self.stem_init == 'uniform':
            change[:, own:].uniform_(-bound, bound)
        self.channels = nn.Parameter(channels)
        self.kernels = nn.Parameter(change)

    def image(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C+T, H, W)"""
        check_size(image, self.size, 'ChannelPrompter has learnt channels')
        return torch.cat([image, self.channels.expand(image.shape[0], -1, -1, -1)], dim=1)

    def stem(self) -> Tensor:
        return self.kernels
