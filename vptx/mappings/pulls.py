"""Terms of the loss that keep what prompts make near what the frozen towers make.

    text     a * d(Z, Z')                  Yao et al., "Visual-Language Prompt Tuning with Knowledge-guided Context
                                           Optimization" (KgCoOp), CVPR 2023, https://arxiv.org/abs/2303.13283
    images   a * d(f, f')                  Khattak et al., "Self-regulating Prompts: Foundational Model Adaptation
    logits   a * KL(p' || p) / (B * C)     without Forgetting" (PromptSRC), ICCV 2023, https://arxiv.org/abs/2307.06948

Z (C, d) are the features of the classes and f (B, d) those of the images, each of length 1, p = softmax(scale * f Z^T);
with a prime, without prompts and with sentences of a template. d is 1 - cos, averaged over rows, or the mean absolute
difference of the numbers.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vptx.registry import PULLS
from vptx.text import check_average, check_templates

__all__ = ['Forward', 'ImagePull', 'LogitPull', 'Pull', 'TextPull']

#: Of rows of length 1.
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'cosine': lambda learnt, frozen: 1 - F.cosine_similarity(learnt, frozen, dim=-1).mean(),
    'l1': lambda learnt, frozen: (learnt - frozen).abs().mean(),
}


class Forward(NamedTuple):
    """What a text head has computed in a forward.

    Attributes:
        images: f (B, d), each of length 1.
        classes: Z (C, d), or (B, C, d) of each image.
        logits: (B, C).
        frozen_images: f' (B, d), each of length 1; None where nothing asks for it.
        frozen_classes: templates and their average -> Z' (C, d).
        score: f and Z -> logits.
    """

    images: Tensor
    classes: Tensor
    logits: Tensor
    frozen_images: Tensor | None
    frozen_classes: Callable[[str | Sequence[str] | None, str | None], Tensor]
    score: Callable[[Tensor, Tensor], Tensor]


class Pull(nn.Module):
    """A term of the loss, of one forward.

    Args:
        weight: a.

    Attributes:
        reads_frozen: whether it compares with the images' features of the network without its prompter.
        of_classes: whether it compares features of classes alone.

    Raises:
        ValueError: a weight that is not above 0.
    """

    reads_frozen = False
    of_classes = False

    def __init__(self, weight: float) -> None:
        super().__init__()
        if not (isinstance(weight, (int, float)) and 0 < weight < float('inf')):
            raise ValueError(f'weight must be a number above 0, not {weight!r}')
        self.weight = weight

    def forward(self, seen: Forward) -> Tensor:
        """The term, a number."""
        raise NotImplementedError(f'{type(self).__name__} must define forward(seen)')


def _distance(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    if name not in DISTANCES:
        raise ValueError(f'distance must be one of {", ".join(DISTANCES)}, not {name!r}')
    return DISTANCES[name]


def _sentences(template: str | Sequence[str] | None, average: str | None) -> tuple[Sequence[str] | None, str | None]:
    return template and check_templates(template), average and check_average(average)


@PULLS.register_module()
class TextPull(Pull):
    """Pulls features of classes to those of the frozen tower. KgCoOp: weight 8, cosine. PromptSRC: 25, l1.

    Source: Yao et al. (KgCoOp), CVPR 2023, https://arxiv.org/abs/2303.13283; Khattak et al. (PromptSRC), ICCV 2023,
    https://arxiv.org/abs/2307.06948.

    Args:
        weight: a.
        distance: ``'cosine'`` or ``'l1'``.
        template: of the frozen features: a text with ``{}``, several, or ``'imagenet'``; by default the head's.
        average: of several templates; by default the head's.
    """

    of_classes = True

    def __init__(
        self,
        weight: float = 8.0,
        distance: str = 'cosine',
        template: str | Sequence[str] | None = None,
        average: str | None = None,
    ) -> None:
        super().__init__(weight)
        self.distance = _distance(distance)
        self.template, self.average = _sentences(template, average)

    def forward(self, seen: Forward) -> Tensor:
        frozen = seen.frozen_classes(self.template, self.average).to(seen.classes.dtype)
        return self.weight * self.distance(seen.classes, frozen.expand_as(seen.classes))


@PULLS.register_module()
class ImagePull(Pull):
    """Pulls features of images to those of the frozen network, which runs once more for it. PromptSRC: weight 10, l1.

    Source: Khattak et al. (PromptSRC), ICCV 2023, https://arxiv.org/abs/2307.06948.

    Args:
        weight: a.
        distance: ``'cosine'`` or ``'l1'``.
    """

    reads_frozen = True

    def __init__(self, weight: float = 10.0, distance: str = 'l1') -> None:
        super().__init__(weight)
        self.distance = _distance(distance)

    def forward(self, seen: Forward) -> Tensor:
        assert seen.frozen_images is not None  # as it asked for them
        return self.weight * self.distance(seen.images, seen.frozen_images.to(seen.images.dtype))


@PULLS.register_module()
class LogitPull(Pull):
    """Pulls the classes' probabilities to those of zero-shot CLIP. PromptSRC: weight 1.

    ``ProGradOptimWrapper`` uses its gradient as ProGrad does that of zero-shot CLIP.

    Source: Khattak et al. (PromptSRC), ICCV 2023, https://arxiv.org/abs/2307.06948.

    Args:
        weight: a.
        template: of the frozen features of the classes; see ``TextPull``.
        average: of several templates; by default the head's.
    """

    reads_frozen = True

    def __init__(
        self, weight: float = 1.0, template: str | Sequence[str] | None = None, average: str | None = None
    ) -> None:
        super().__init__(weight)
        self.template, self.average = _sentences(template, average)

    def forward(self, seen: Forward) -> Tensor:
        assert seen.frozen_images is not None  # as it asked for them
        with torch.no_grad():
            teacher = seen.score(seen.frozen_images, seen.frozen_classes(self.template, self.average))
        learnt, frozen = (logits.float().log_softmax(dim=-1) for logits in (seen.logits, teacher))
        return self.weight * F.kl_div(learnt, frozen, reduction='sum', log_target=True) / learnt.numel()
