"""The shapes of a network: all that a prompter may know of it."""

from dataclasses import dataclass

DOORS = ('image', 'tokens', 'memory', 'logits')


@dataclass(frozen=True)
class Geometry:
    """Facts read off a network, never configured twice.

    Attributes:
        name: the network's name, written into prompt files, e.g. ``vit_base_patch16_224.orig_in21k``.
        widths: D of each layer; its length is the depth L. None where prompts can reach no layer, as in a ConvNet.
        patch: height and width of a patch, in pixels, which have to divide an image; 1 x 1 where any size goes.
        image: height and width of the image the network was built for, in pixels.
        prefix: K, the number of tokens in front of the patches (class, distillation and register tokens).
        tokens: K + N of an image of that size; the cells of its last map, for a ConvNet.
        mean, std: the pixel normalisation the network was trained with, per channel, of pixels in [0, 1].
        doors: those of :data:`DOORS` through which a prompter can reach the network.
        any_size: whether it takes images of other sizes than ``image``.
        stem: (D, height, width) of the kernels of the convolution that sees the image; None where that one can take
            no more channels than the image's own.
    """

    name: str
    widths: tuple[int, ...]
    patch: tuple[int, int]
    image: tuple[int, int]
    prefix: int
    tokens: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    doors: frozenset[str]
    any_size: bool = True
    stem: tuple[int, int, int] | None = None

    @property
    def depth(self) -> int:
        """L, the number of layers."""
        return len(self.widths)
