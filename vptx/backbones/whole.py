"""Networks that are called in one piece, because their parts have no common names: prompts act on the image alone."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vptx.backbones.base import Context, Net
from vptx.readout import OWN
from vptx.registry import NETS

__all__ = ['Output', 'WholeNet']


@dataclass(frozen=True)
class Output(Context):
    """What the library's own forward returned, next to tokens, if there are any.

    Attributes:
        grid, positions: of ``Context``.
        value: what was returned, in its own shape.
    """

    value: Any = None


class WholeNet(Net):
    """A network that is called in one piece. Its own output is all that can be read.

    Args:
        model: built.

    Attributes:
        what: what it wraps, for errors.
    """

    what: str
    has_class_token = False
    readout = OWN

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not self.is_one(model):
            raise ValueError(f'{type(self).__name__} wraps {self.what}, not {type(model).__name__}')
        self.model = model
        self.stem = next((name for name, part in model.named_modules() if isinstance(part, nn.Conv2d)), '')

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        others = (net for net in NETS.module_dict.values() if not issubclass(net, WholeNet))
        return cls.is_one(model) and not any(net.knows(model) for net in others)

    @classmethod
    def is_one(cls, model: nn.Module) -> bool:
        """Whether ``model`` is of the library, though another net may know more of it."""
        raise NotImplementedError

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        """No tokens (B, 0, 1), and what the library's own forward returns."""
        facts, size = self.geometry, tuple(image.shape[-2:])
        if not facts.any_size and size != facts.image:
            raise ValueError(
                f'an image of {size[0]} x {size[1]} px, but {facts.name} was built for {facts.image[0]} x '
                f'{facts.image[1]} px: build it for another size'
            )
        return image.new_zeros(image.shape[0], 0, 1), Output((0, 0), None, self.model(image))

    def finish(self, tokens: Tensor) -> Tensor:
        return tokens

    def classify(self, tokens: Tensor, context: Context) -> Any:
        assert isinstance(context, Output)
        return context.value
