"""How the classes of a network are read as those of a task: door 4, K source logits -> C target logits.

A mapping knows how many there are of each, never a network. The prompted network (``vptx/prompted.py``) calls it on
what the network's own classifier gives. All but the learnt one are a matrix, y = x W with W (K, C): one or a few ones
in each column for an index, anything for the Bayesian ones.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

__all__ = ['CountedMapping', 'LabelMapping']


class LabelMapping(BaseModule):
    """A mapping that changes nothing: the base of all others, and what a network has that reads no old classes.

    Attributes:
        num_classes: C; 0 where nothing is mapped.
        unit: whether it makes the source logits of each image one of length 1 first.
        bound_to: what ``vptx.binding.bind`` bound it to, if it did.
    """

    num_classes: int = 0
    unit: bool = False
    bound_to: tuple | None = None

    def bind(self, sources: int) -> None:
        """Allocate, once K is known.

        Raises:
            ValueError: so many source classes that it cannot do with them.
        """

    def forward(self, logits: Any) -> Any:
        """(B, K) -> (B, C)"""
        return logits

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the target classes, where it reads them by their names."""
        return ()

    @property
    def awaits_classes(self) -> bool:
        """Whether it has no class names yet, and takes those of the first data set (``set_classes``)."""
        return False

    @property
    def adopts_classes(self) -> bool:
        """Whether a file that is loaded names its classes, see ``adopt``."""
        return False

    @property
    def is_open(self) -> bool:
        """Whether what it has learnt serves other classes too."""
        return False

    def language(self) -> tuple[Tensor, ...]:
        """Learnt prompts of its text side, see ``vptx.prompters.Prompter.language``."""
        return ()

    @property
    def reads_frozen(self) -> bool:
        """Whether training compares with the network without its prompter: it then gets what that makes of the images
        (``take_frozen``) before each forward."""
        return False

    def take_frozen(self, logits: Tensor) -> None:
        """Of the network without its prompter, for the images of the next forward: (B, K)."""

    def frozen_tensors(self) -> Iterable[tuple[str, Tensor]]:
        """Frozen numbers of its own, by name, which no prompt file holds: the file's fingerprint covers them."""
        return ()

    def loss(self) -> Mapping[str, Tensor]:
        """Terms that training adds to the loss, by name; asked for after a forward."""
        return {}

    @property
    def adds_loss(self) -> bool:
        """Whether ``loss`` is to be asked."""
        return type(self).loss is not LabelMapping.loss

    def facts(self) -> dict[str, Any]:
        """What a prompt file says of it, in plain JSON types; nothing by default."""
        return {}

    def check_facts(self, facts: Mapping[str, Any], where: str | Path) -> None:
        """Refuse what a file was trained with, if it means something else here.

        Raises:
            ValueError: begins with ``where``.
        """

    def prepare(self, tensors: Mapping[str, Tensor]) -> None:
        """Allocate for the tensors of a file, by their names here, before they are checked; nothing by default."""

    def adopt(self, facts: Mapping[str, Any]) -> None:
        """Take over what a file says, and its tensors cannot, when they are loaded; nothing by default."""

    def as_linear(self) -> nn.Linear:
        """The linear layer that it is, (B, K) -> (B, C); where ``unit``, of logits of length 1.

        Raises:
            ValueError: it is none.
        """
        matrix = self.matrix()
        sources, classes = matrix.shape
        found = nn.Linear(sources, classes, bias=False, device=matrix.device, dtype=matrix.dtype)
        found.weight.data.copy_(matrix.T)
        return found

    def matrix(self) -> Tensor:
        """(K, C): how much of each source class a target class is, for people to look at."""
        raise NotImplementedError(f'{type(self).__name__} must define matrix()')


def check_classes(num_classes: int) -> int:
    """C, or a ValueError."""
    if not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f'num_classes must be a whole number of at least 2, not {num_classes!r}')
    return num_classes


class CountedMapping(LabelMapping):
    """A mapping that is estimated from A (K, C), how often the network takes an image of class t for an s.

    ``LabelMappingHook`` counts, over all ranks; in a script ``vptx.estimate_mapping`` does.

    Args:
        num_classes: C.
        every: epochs from one estimate to the next; 0 estimates once, before training.
        online: whether later estimates are made from what the network said of the images while it was trained on
            them, at no cost, or in a pass of their own over the training images at the beginning of an epoch, with
            the prompts of that moment, as published. The first one always has its own pass.

    Attributes:
        ready: whether there has been an estimate, or one was loaded.
    """

    def __init__(self, num_classes: int, every: int = 0, online: bool = True) -> None:
        super().__init__()
        if not isinstance(every, int) or every < 0:
            raise ValueError(f'every must be a whole number of epochs, 0 for one estimate alone; not {every!r}')
        self.num_classes = check_classes(num_classes)
        self.every = every
        self.online = online
        self.ready = False

    def votes(self, logits: Tensor) -> Tensor:
        """What the network takes images for: (B, K) -> (B, K), one for the largest logit."""
        return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1)

    def count(self, logits: Tensor, targets: Tensor) -> Tensor:
        """What a batch adds to A: source logits (B, K) and, of each class, how much of it an image is (B, C)."""
        # In single precision whatever the network has: some devices have no double, and half cannot count to 257. Whole
        # images are counted exactly up to 2 ** 24 of a class.
        return self.votes(logits.detach().float()).T @ targets.to(logits.device).float()

    def estimate(self, counts: Tensor) -> None:
        """Read the mapping off A (K, C)."""
        self._estimate(counts)
        self.ready = True

    def _estimate(self, counts: Tensor) -> None:
        raise NotImplementedError(f'{type(self).__name__} must define _estimate(counts)')

    def forward(self, logits: Tensor) -> Tensor:
        if not self.ready:
            raise RuntimeError(
                f'{type(self).__name__} is estimated from training images, and has not been estimated yet: train by a '
                'config with '
                'PromptTuningHook, load a prompt file, or call vptx.estimate_mapping(model, batches)'
            )
        return self._map(logits)

    def _map(self, logits: Tensor) -> Tensor:
        raise NotImplementedError(f'{type(self).__name__} must define _map(logits)')

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self.ready = self._is_estimated()

    def _is_estimated(self) -> bool:
        """Whether the buffers hold an estimate."""
        raise NotImplementedError(f'{type(self).__name__} must define _is_estimated()')
