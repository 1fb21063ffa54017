"""Side-tuning: Zhang et al., "Side-Tuning: A Baseline for Network Adaptation via Additive Side Networks", ECCV 2020,
https://arxiv.org/abs/1912.13503, as Jia et al. 2022 set it up.

A small network looks at the same image, and its feature is blended with that of the frozen one:

    y = s(alpha) * f(x) + (1 - s(alpha)) * W g(x),    s the logistic function, alpha = 0 initially

g is the convolutional part of AlexNet, all of which trains. It is added to every token after the final norm, which is
the same for the class token and for any average of tokens.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.files import safe_load
from vptx.geometry import Geometry
from vptx.prompters.base import Prompter
from vptx.registry import PROMPTERS

SMALLEST = 64  # pixels: of less, AlexNet's pooling leaves nothing


@PROMPTERS.register_module()
class SideTuning(Prompter):
    """AlexNet next to the network: 2,469,696 numbers, 9,216 * D of the projection, and alpha.

    Source: Zhang et al., ECCV 2020, https://arxiv.org/abs/1912.13503.

    Args:
        weights: of AlexNet: ``'imagenet'``, torchvision's, downloaded once; a file of the same names; or None, drawn.

    Raises:
        FileNotFoundError: the weights are neither there nor to be downloaded.
        ValueError: a file that is no plain checkpoint, or not of AlexNet.
    """

    doors = frozenset({'tokens'})

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        self.weights = weights

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        from torchvision.models import alexnet  # not on `import vptx`: it takes half a second

        with torch.device('meta'):
            network = alexnet()
        # Its classifier goes unused and is nine tenths of it: it is not worth drawing.
        network.to_empty(device=torch.get_default_device())
        for layer in network.features:
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
        if self.weights:
            _load(network, self.weights)
        self.features = network.features
        self.project = nn.Linear(256 * 6 * 6, geometry.widths[-1], bias=False)
        self.alpha = nn.Parameter(torch.zeros(()))

    def at_end(self, tokens: Tensor, image: Tensor) -> Tensor:
        if min(image.shape[-2:]) < SMALLEST:
            larger = [max(size, SMALLEST) for size in image.shape[-2:]]
            image = F.interpolate(image, larger, mode='bilinear')
        maps = F.adaptive_avg_pool2d(self.features(image), (6, 6))
        feature = self.project(maps.flatten(1))[:, None]
        # In half precision one of the three may be single.
        return torch.lerp(feature.to(tokens.dtype), tokens, self.alpha.sigmoid().to(tokens.dtype))

    @property
    def needs_all_tokens(self) -> bool:
        return False  # what is added to a token does not depend on the others


def _load(network: nn.Module, weights: str) -> None:
    path = Path(weights)
    if weights == 'imagenet':
        from torchvision.models import AlexNet_Weights

        url = AlexNet_Weights.IMAGENET1K_V1.url
        path = Path(torch.hub.get_dir(), 'checkpoints', Path(url).name)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition('-')[2])
            except OSError as error:
                raise FileNotFoundError(
                    f"SideTuning: AlexNet's weights are not at {path} and cannot be downloaded ({error}). Fetch {url} "
                    'elsewhere and put it there, or give its path as weights'
                ) from error
    state = safe_load(path)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f'SideTuning: {path} does not hold the weights of AlexNet: {error}') from error
