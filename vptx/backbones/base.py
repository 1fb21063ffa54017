"""Where a prompt enters: a library's network, taken apart.

A net knows how to be taken apart, never a prompter. The hall (``vptx/prompted.py``) runs
``embed -> block 0 ... block L-1 -> finish``; without a prompter that computes exactly what the library computes.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.func import functional_call

from vptx.geometry import Geometry, Site
from vptx.registry import NETS

__all__ = [
    'Context',
    'KeyValue',
    'LayerOutput',
    'Net',
    'count_channels',
    'find_net',
    'find_sites',
    'is_a',
    'is_unseen',
    'measure_stem',
    'take_apart',
]


@dataclass(frozen=True)
class Context:
    """What the blocks need to know of an image beside its tokens.

    Attributes:
        grid: (H', W'), the patches of the image as they are now; N = H' * W'.
        positions: those that attention adds by itself: rotations of the patches, or a bias between the tokens of the
            image. None where the tokens carry theirs.
    """

    grid: tuple[int, int]
    positions: Tensor | None = None


class KeyValue(NamedTuple):
    """Memory as a layer's attention sees it; both (heads, P, head width) or (B, heads, P, head width)."""

    key: Tensor
    value: Tensor


class LayerOutput(NamedTuple):
    """What a layer gave, without prompts: (B, K, D), (B, N, D), and the (H', W') of its N patches."""

    prefix: Tensor
    patches: Tensor
    grid: tuple[int, int]

    @property
    def tokens(self) -> Tensor:
        """(B, K+N, D)"""
        return torch.cat([self.prefix, self.patches], dim=1)

    @property
    def map(self) -> Tensor:
        """(B, D, H', W')"""
        return self.patches.transpose(1, 2).unflatten(2, self.grid).contiguous()


class Net(BaseModule):
    """A frozen network taken apart; a subclass knows one family of one library.

    Attributes:
        geometry: its facts; see :class:`~vptx.geometry.Geometry`.
        model: the library's own network, with its own names and weights.
        has_class_token: whether the first token is one, so that the readout ``cls`` makes sense.
        readout: the pooling that the network was trained with.
        stem: name in ``model`` of the convolution that sees the image, where ``geometry.stem`` has its shape.
        example: arguments for one of the family, of which :mod:`vptx.analysis.support` reads the doors; of a library
            that builds by configs, ``model`` is one.
        stages: the layers whose feature maps a segmentation head takes where it is told no others.
        class_names: of its own classifier, where they are known.
        map_norm: what is done to these maps; see :class:`~vptx.readout.Maps`.
        own_rows: how many of the first tokens the network's own pooling and classifier read; None for all.
        taps: the layers that the network's own forward takes its outputs from, where that is not the last one alone;
            they go to :meth:`collect` instead of :meth:`classify`.
    """

    example: ClassVar[dict[str, Any]] = {}

    geometry: Geometry
    model: nn.Module
    has_class_token: bool
    readout: str
    stem: str = ''
    map_norm: str = 'none'
    own_rows: int | None = None
    taps: tuple[int, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        return ()

    @property
    def classifier(self) -> nn.Module | None:
        """The network's own, the last layer of what :meth:`classify` does; None where it was built without one."""
        return None

    @property
    def grad_checkpointing(self) -> bool:
        """Whether the library's network was set to checkpoint its layers, by timm's name of the flag or OpenMMLab's."""
        modules = list(self.model.modules())
        return any(getattr(m, 'grad_checkpointing', False) or getattr(m, 'with_cp', False) for m in modules)

    @property
    def stages(self) -> tuple[int, ...]:
        return (self.geometry.depth - 1,)

    @property
    def intermediates(self) -> tuple[int, ...]:
        """The layers that the library's own ``forward_intermediates`` counts: all, or the last one of each stage."""
        return tuple(range(self.geometry.depth))

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        """Whether ``model`` is of this family."""
        raise NotImplementedError

    def init_weights(self) -> None:
        """Leave the network alone: its weights came with it, and MMEngine would draw new ones here."""

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        """(B, 3, H, W) -> (B, K+N, D), and what the blocks need to know of the image.

        Raises:
            ValueError: an image size that the network cannot take.
        """
        raise NotImplementedError

    def embed_widened(self, image: Tensor, stem: Tensor) -> tuple[Tensor, Context]:
        """(B, 3+T, H, W) -> what :meth:`embed` gives, with ``stem`` (D, 3+T, h, w) added to the kernels of the stem.

        The frozen kernels are zero on the T channels that they have never seen. Nothing in ``model`` is changed.
        """
        name = f'model.{self.stem}.weight'
        frozen = self.get_parameter(name)
        kernels = F.pad(frozen, (0, 0, 0, 0, 0, stem.shape[1] - frozen.shape[1])) + stem
        return functional_call(self, {name: kernels}, (image,))

    def forward(self, image: Tensor) -> tuple[Tensor, Context]:
        """As :meth:`embed`; it is by ``forward`` that PyTorch calls a module with other parameters."""
        return self.embed(image)

    def embed_pixels(self, strip: Tensor) -> Tensor:
        """(3, patch height, P * patch width) -> (P, D), by the patch embedding alone, without positions."""
        raise NotImplementedError

    def merge(self, tokens: Tensor, layer: int, context: Context) -> tuple[Tensor, Context]:
        """What stands in front of ``layer`` beside prompts, such as patch merging: (B, P+M, D) -> (B, P+M', D'). The
        grid of patches, the last of the tokens, changes with it."""
        return tokens, context

    def block(self, tokens: Tensor, layer: int, context: Context, memory: Tensor | KeyValue | None = None) -> Tensor:
        """(B, M, D) -> (B, M, D), attending also to ``memory``: (P, D), (B, P, D), or its keys and values."""
        raise NotImplementedError

    def first_rows(
        self, tokens: Tensor, layer: int, context: Context, memory: Tensor | KeyValue | None, rows: int
    ) -> Tensor | None:
        """What :meth:`block` makes of the first tokens, for a readout that reads no others: (B, M, D) -> (B, rows, D).
        None where that is not less work, or somebody sees the others on their way (:func:`is_unseen`)."""
        return None

    def keys_values(self, memory: Tensor, layer: int) -> KeyValue:
        """(P, D) or (B, P, D) -> its keys and values in ``layer``; what :func:`vptx.fold` keeps."""
        raise NotImplementedError

    def key_value_weights(self, layer: int) -> tuple[Tensor, Tensor]:
        """Of the maps that make keys and values of the normed tokens in ``layer``, each (heads * d, D).

        Raises:
            ValueError: a network whose attention keeps them otherwise.
        """
        raise ValueError(f'{self.geometry.name} does not tell the weights of its keys and values')

    def module_at(self, site: Site) -> nn.Module:
        """The library's module at one of the geometry's sites, called once in a forward without memory."""
        raise NotImplementedError

    def finish(self, tokens: Tensor) -> Tensor:
        """The final norm: (B, M, D) -> (B, M, D)."""
        raise NotImplementedError

    def finish_pooled(self, feature: Tensor) -> Tensor:
        """What the network does to a pooled feature before its classifier: (B, D) -> (B, D)."""
        raise NotImplementedError

    def features(self, tokens: Tensor, context: Context) -> Tensor:
        """Finished tokens (B, K+N, D) in the shape that the library's own ``forward_features`` returns."""
        return tokens

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        """The network's own pooling and classifier: finished tokens (B, K+N, D) -> (B, C)."""
        raise NotImplementedError

    def collect(self, outputs: Mapping[int, LayerOutput]) -> tuple:
        """What the network's own forward makes of the outputs of its layers :attr:`taps`, none of them finished."""
        raise NotImplementedError


def is_a(model: nn.Module, path: str) -> bool:
    """Whether ``model`` is of the class ``path``, ``'library.module.Class'``, and has that class's own forward.

    Without importing the library: whoever made such a model has, and others may not have it at all.
    """
    module, _, name = path.rpartition('.')
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(model, kind) and type(model).forward is kind.forward


def measure_stem(model: nn.Module, name: str) -> tuple[int, int, int] | None:
    """(D, height, width) of the kernels of the convolution ``name``, if they can be made wider where they are used as
    they are: not standardised first, not in groups; else None."""
    stem = dict(model.named_modules()).get(name)
    if getattr(type(stem), 'forward', None) is not nn.Conv2d.forward or stem.groups > 1 or stem.in_channels != 3:
        return None
    return stem.out_channels, *stem.kernel_size


def count_channels(model: nn.Module, name: Any) -> int:
    """Of the images that the convolution ``name`` takes, or else the first one that there is; 3 without any."""
    modules = dict(model.named_modules())
    found = [modules.get(name) if isinstance(name, str) else None, *modules.values()]
    return next((module.in_channels for module in found if isinstance(module, nn.Conv2d)), 3)


def is_unseen(*parts: nn.Module) -> bool:
    """Whether rows may be left out of what goes through ``parts``: no hook sees them, and no dropout draws for them."""
    for module in (module for part in parts for module in part.modules()):
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
            return False
        if module.training and (getattr(module, 'p', 0) or getattr(module, 'drop_prob', 0)):
            return False
    return True


#: Where a transformer's block, as most libraries write it, has its sites.
IN_BLOCK = dict(
    norm1='norm1', qkv='attn.qkv', proj='attn.proj', attn='attn', norm2='norm2', fc1='mlp.fc1', fc2='mlp.fc2', mlp='mlp'
)


def find_sites(block: nn.Module, layer: int, width: int) -> tuple[Site, ...]:
    """The sites of a block of this width: those modules of :data:`IN_BLOCK` that it has."""
    found = []
    for name, path in IN_BLOCK.items():
        try:
            module = block.get_submodule(path)
        except AttributeError:
            continue
        widths = getattr(module, 'in_features', width), getattr(module, 'out_features', width)
        found.append(Site(name, layer, *widths))
    return tuple(found)


def find_net(model: nn.Module) -> type[Net] | None:
    """The class of the net that knows a library's model, or None."""
    NETS.import_from_location()
    return next((net for net in NETS.module_dict.values() if net.knows(model)), None)


def take_apart(model: nn.Module) -> Net:
    """The net of a library's model.

    Raises:
        ValueError: no net knows the model (lists those that are there).
    """
    net = find_net(model)
    if net is None:
        raise ValueError(
            f'no net takes a {type(model).__module__}.{type(model).__name__} apart. Known: '
            f'{", ".join(sorted(NETS.module_dict))}. CONTRIBUTING.md, "Add a network", shows how to add one'
        )
    return net(model)
