"""Backbone wrappers: a library's network, split into the parts of its forward.

A net knows the parts of its forward, never a prompter. The prompted network (``vptx/prompted.py``) runs
``embed -> block 0 ... block L-1 -> finish``; without a prompter that computes exactly what the library computes.

A layer is computed from its weights, or called, and nothing in between. Computed from its weights, it does not call its
modules, so that its attention can see keys and values that are no tokens. That is done only where ``Net.is_spelt``
finds nothing of anybody else's on these modules. Otherwise the library's own forward is called, and prompts are tokens
in it.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.func import functional_call

from vptx.backbones.linear import fast_linear
from vptx.backbones.memory import KeyValue, Memory, Spelling, each_ready, same
from vptx.backbones.spelling import has_global_hooks, is_plain
from vptx.geometry import EachMemory, Geometry, MixedMemory, Site, join_memories
from vptx.registry import NETS

__all__ = [
    'Context',
    'KeyValue',
    'LayerOutput',
    'Net',
    'count_channels',
    'find_net',
    'has_own_forward',
    'is_a',
    'kind_of',
    'measure_stem',
    'reasons',
    'wrap_backbone',
]


@dataclass(frozen=True)
class Context:
    """What the blocks need to know of an image besides its tokens.

    Attributes:
        grid: (H', W'), the patches of the image as they are now; N = H' * W'.
        positions: those that attention adds by itself: rotations of the patches, or a bias between the tokens of the
            image. None where the tokens have them.
    """

    grid: tuple[int, int]
    positions: Tensor | None = None


class LayerOutput(NamedTuple):
    """What a layer gave, without prompts.

    Attributes:
        prefix: (B, K, D).
        patches: (B, N, D).
        grid: the (H', W') of the N patches.
    """

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
    """Wrapper of a frozen network; a subclass supports one family of one library.

    Attributes:
        geometry: its facts; see ``Geometry``.
        model: the library's own network, with its own names and weights.
        has_class_token: whether the first token is one, so that the readout ``cls`` makes sense.
        readout: the pooling that the network was trained with.
        stem: name in ``model`` of the convolution that sees the image, where ``geometry.stem`` has its shape.
        example: arguments for one of the family, of which ``vptx.analysis.support`` reads the doors; of a library
            that builds by configs, ``model`` is one.
        stages: the layers whose feature maps a segmentation head takes by default.
        class_names: of its own classifier, where they are known.
        map_norm: what is done to these maps; see ``Maps``.
        own_rows: how many of the first tokens the network's own pooling and classifier read; None for all.
        taps: the layers that the network's own forward takes its outputs from, where that is not the last one alone;
            they go to ``collect`` instead of ``classify``.
        positions: last components of the names of tensors that the library resizes to another image size.
        replaced: the modules of a layer that are not called, or are called otherwise, where it is computed from
            weights; by their names in it, with the types that they may be of.
        around: the names in ``model`` of what gives the first tokens (``'embed'``) and of the final norm (``'norm'``),
            as sites for prompters that act inside.
        uncalled: sites of a block that are not called, or with more than one tensor.
        used: the sites at which the prompter of the moment acts.
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
    positions: tuple[str, ...] = (
        'pos_embed',
        'pos_embedding',
        'absolute_pos_embed',
        'relative_position_bias_table',
        'relative_position_index',
    )
    replaced: Mapping[str, tuple[type[nn.Module], ...]] = {}
    around: Mapping[str, str] = {}
    uncalled: frozenset[str] = frozenset()
    used: tuple[Site, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        return ()

    @property
    def classifier(self) -> nn.Module | None:
        """The network's own, the last layer of what ``classify`` does; None where it was built without one."""
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

    @classmethod
    def overridden(cls, model: nn.Module) -> tuple[str, ...]:
        """The methods of ``model`` for which it is not known, though it is of this family: those that the net would
        compute as the family does, and that are the model's own."""
        return ()

    @classmethod
    def reason(cls, model: nn.Module) -> str:
        """Why a model of the family is not known, and what to do; empty for one of another family."""
        own = cls.overridden(model)
        if not own:
            return ''
        return (
            f'. It is of the family of {cls.__name__}, but has its own {" and ".join(own)}, which would not be run: '
            "load its weights into the library's class, or write a Net for it"
        )

    def init_weights(self) -> None:
        """Leave the network alone: its weights came with it, and MMEngine would draw new ones here."""

    def embed(self, image: Tensor) -> tuple[Tensor, Context]:
        """(B, 3, H, W) -> (B, K+N, D), and what the blocks need to know of the image.

        Raises:
            ValueError: an image size that the network cannot take.
        """
        raise NotImplementedError

    def embed_widened(self, image: Tensor, stem: Tensor) -> tuple[Tensor, Context]:
        """(B, C+T, H, W) -> what ``embed`` gives, with ``stem`` (D, C+T, h, w) added to the kernels of the stem.

        The frozen kernels are zero on the T channels that they have never seen. Nothing in ``model`` is changed.

        Raises:
            RuntimeError: under ``torch.jit.trace``, which cannot call a module with other parameters.
        """
        if torch.jit.is_tracing():
            raise RuntimeError(
                f'torch.jit.trace cannot record {self.geometry.name} with more channels than its own, as it cannot '
                'call a module with other parameters: use torch.export.export, which can'
            )
        name = f'model.{self.stem}.weight'
        frozen = self.get_parameter(name)
        kernels = F.pad(frozen, (0, 0, 0, 0, 0, stem.shape[1] - frozen.shape[1])) + stem
        return functional_call(self, {name: kernels}, (image,))

    def forward(self, image: Tensor) -> tuple[Tensor, Context]:
        """As ``embed``; it is by ``forward`` that PyTorch calls a module with other parameters."""
        return self.embed(image)

    def embed_pixels(self, strip: Tensor) -> Tensor:
        """(3, patch height, P * patch width) -> (P, D), by the patch embedding alone, without positions."""
        patches, norm = self.patch_modules()
        tokens = patches(strip[None]).flatten(2).transpose(1, 2)
        return (tokens if norm is None else norm(tokens))[0]

    def patch_modules(self) -> tuple[Callable[[Tensor], Tensor], nn.Module | None]:
        """What makes a map of patches of an image, (B, 3, H, W) -> (B, D, H', W'), and the norm after it, if any."""
        raise NotImplementedError

    def admit(self, tokens: Tensor) -> Tensor:
        """What is done to embedded patches between their positions and the first layer, for tokens that a prompter puts
        among them there: (..., P, D) -> (..., P, D). The norm of CLIP's image towers; nothing in most networks."""
        return tokens

    def merge(self, tokens: Tensor, layer: int, context: Context) -> tuple[Tensor, Context]:
        """What stands before ``layer`` besides prompts, such as patch merging: (B, P+M, D) -> (B, P+M', D'). The
        grid of patches, the last of the tokens, changes with it."""
        return tokens, context

    def block(
        self,
        tokens: Tensor,
        layer: int,
        context: Context,
        memory: Memory | None = None,
        exact: bool = True,
        between: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """(B, M, D) -> (B, M, D), attending also to ``memory``: (P, D), (B, P, D), or its keys and values.

        Without a memory, it is the library's to the bit, or with ``exact=False`` to rounding, which may be faster.

        Args:
            tokens: prompts between prefix and patches.
            layer: counted from 0.
            context: of the image.
            memory: what the layer attends to besides its own tokens.
            exact: see above.
            between: acts on the tokens after the shortcut around attention (B, M, D) -> (B, M, D).

        Raises:
            ValueError: the layer has to be called, and its own forward takes no keys and values, or nothing between
                attention and MLP; keys and values of other shapes than the layer's.
        """
        if exact and memory is None and between is None:
            return self.call(tokens, layer, context)
        with fast_linear(tokens):
            return self._fast_block(tokens, layer, context, memory, between)

    def _fast_block(
        self,
        tokens: Tensor,
        layer: int,
        context: Context,
        memory: Memory | None,
        between: Callable[[Tensor], Tensor] | None,
    ) -> Tensor:
        """``block``, to rounding."""
        if isinstance(memory, EachMemory) and not self.is_spelt(layer):
            memory = self._as_tokens(memory, layer)
        if between is not None or (memory is not None and not isinstance(memory, Tensor)):
            if not self.is_spelt(layer):
                what = 'keys and values' if between is None else 'prompter between attention and MLP'
                raise ValueError(
                    f'layer {layer} of {self.geometry.name} has to be called, as a module of it has a hook (a '
                    'prompter that acts inside, such as LoRA, sets some), is compiled by itself or is not '
                    f"as its library made it, and the library's own forward takes no {what}: take the change off, or "
                    'use another prompter'
                )
        elif memory is None and not self.is_spelt(layer):
            return self.call(tokens, layer, context)
        if memory is None or self.is_spelt(layer):
            ready = None if memory is None else self.keys_values(memory, layer)
            return self.spell(tokens, layer, context, ready, between or same)
        assert isinstance(memory, Tensor)
        prefix, prompts = self.geometry.prefix, memory.shape[-2]
        memory = memory.expand(tokens.shape[0], -1, -1)
        longer = torch.cat([tokens[:, :prefix], memory, tokens[:, prefix:]], dim=1)
        longer = self.call(longer, layer, context)
        return torch.cat([longer[:, :prefix], longer[:, prefix + prompts :]], dim=1)

    def _as_tokens(self, memory: EachMemory, layer: int) -> Tensor | None:
        """Memories of runs of samples as tokens (B, P, D) of a layer that is called.

        Raises:
            ValueError: they are of several lengths, or keys and values.
        """
        if all(part is None for part in memory.parts):
            return None
        if any(not isinstance(part, Tensor) or part.shape[-2] != memory.parts[0].shape[-2] for part in memory.parts):
            raise ValueError(
                f'layer {layer} of {self.geometry.name} has to be called, where prompts are tokens, as many of every '
                'sample: samples with more and with fewer prompts go in two batches'
            )
        runs = zip(memory.parts, memory.counts, strict=True)
        return torch.cat([part.expand(count, -1, -1) for part, count in runs])

    def call(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        """The library's own forward of a layer: (B, M, D) -> (B, M, D), prompts between prefix and patches."""
        raise NotImplementedError

    def spell(
        self,
        tokens: Tensor,
        layer: int,
        context: Context,
        memory: KeyValue | None,
        between: Callable[[Tensor], Tensor] = same,
    ) -> Tensor:
        """The same computed from the weights, attending also to ``memory``; where ``is_spelt`` allows it."""
        return self.spelling(layer, context, tokens.shape[1])(tokens, memory, between)

    def spelling(self, layer: int, context: Context | None = None, length: int = 0) -> Spelling:
        """How ``layer`` is computed. Without a context, as far as keys and values of prompts need it.

        Args:
            layer: counted from 0.
            context: of the image.
            length: how many tokens there are, prompts among them.
        """
        raise NotImplementedError

    def module_of(self, layer: int) -> nn.Module:
        """The library's module of a layer."""
        raise NotImplementedError

    def is_spelt(self, layer: int) -> bool:
        """Whether ``layer`` is computed from weights where prompts act as keys and values alone, as it is now."""
        if 'memory' not in self.geometry.doors or has_global_hooks():
            return False
        module = self.module_of(layer)
        parts = ((_part(module, path), kinds) for path, kinds in self.replaced.items())
        return all(is_plain(part, kinds) for part, kinds in parts) and self.is_known(module)

    def is_known(self, module: nn.Module) -> bool:
        """Whether ``spell`` computes what a layer of this make does, if nothing of it was changed."""
        raise NotImplementedError

    def first_rows(
        self, tokens: Tensor, layer: int, context: Context, memory: Memory | None, rows: int
    ) -> Tensor | None:
        """What ``block`` makes of the first tokens, for a readout that reads no others: (B, M, D) -> (B, rows, D).
        None where that is not less work, where the layer is not computed from weights, or where a hook sees the others
        on their way (``is_unseen``)."""
        return None

    def keys_values(self, memory: Memory, layer: int) -> Any:
        """(P, D) or (B, P, D) -> its keys and values in ``layer``; what ``vptx.fold`` keeps. None where a memory
        for each run of samples has none.

        Raises:
            ValueError: a memory of keys and values whose shapes are not those of the layer.
        """
        if isinstance(memory, EachMemory):
            parts = [None if part is None else self.keys_values(part, layer) for part in memory.parts]
            return each_ready(parts, memory.counts)
        if isinstance(memory, MixedMemory):
            return join_memories([self.keys_values(part, layer) for part in memory])
        if isinstance(memory, KeyValue):
            heads, width = self.geometry.heads[layer], self.geometry.head_width(layer)
            shapes = [tuple(part.shape) for part in memory[:2]]
            if any(shape[-3:-2] + shape[-1:] != (heads, width) for shape in shapes):
                raise ValueError(
                    f'keys and values of {shapes[0]} and {shapes[1]} do not fit layer {layer} of '
                    f'{self.geometry.name}: they have to be ({heads}, P, {width}), or (B, {heads}, P, {width})'
                )
            return memory
        spelling = self.spelling(layer)
        return spelling.attention.keys_values(spelling.norm(memory))

    def recall(self, tokens: Tensor, memory: Tensor, layer: int, context: Context) -> Tensor:
        """What the attention of ``layer`` gathers for the tokens from a memory alone, both as they are, without a norm:
        (B, M, D), and (P, D) or (B, P, D) -> (B, M, D); through its last map, and its layer scale and drop path."""
        how = self.spelling(layer, context, tokens.shape[1])
        return how.project(how.attention.recall(tokens, how.attention.keys_values(memory)))

    def key_value_weights(self, layer: int) -> tuple[Tensor, Tensor]:
        """Of the maps that make keys and values of the normed tokens in ``layer``, each (heads * d, D).

        Raises:
            ValueError: a network whose attention keeps them otherwise.
        """
        raise ValueError(f'{self.geometry.name} does not tell the weights of its keys and values')

    def find_sites(self, widths: tuple[int, ...]) -> tuple[Site, ...]:
        """The modules that a forward without memory calls once, with one tensor, in the order in which it does.

        Args:
            widths: of the layers.
        """
        found = [Site('embed', None, 0, widths[0])] if 'embed' in self.around else []
        for layer, width in enumerate(widths):
            for name in IN_BLOCK:
                module = None if name in self.uncalled else _at_site(self.module_of(layer), name)
                if module is not None:
                    sizes = getattr(module, 'in_features', width), getattr(module, 'out_features', width)
                    found.append(Site(name, layer, *sizes))
        return (*found, *([Site('norm', None, widths[-1], widths[-1])] if 'norm' in self.around else []))

    def module_at(self, site: Site) -> nn.Module:
        """The library's module at one of the geometry's sites."""
        if site.layer is None:
            return self.model.get_submodule(self.around[site.name])
        module = _at_site(self.module_of(site.layer), site.name)
        assert module is not None
        return module

    def affine_at(self, site: Site) -> nn.Module:
        """The module that makes what a site gives, as a rule that at the site: of an embedding, its norm or its map."""
        module: Any = self.module_at(site)
        if site.name != 'embed' or 'weight' in module._parameters:
            return module
        patches, norm = self.patch_modules()
        last = norm if norm is not None and not isinstance(norm, nn.Identity) else patches
        return last if isinstance(last, nn.Module) else module

    def is_used(self, name: str, layer: int) -> bool:
        """Whether a prompter acts at the site ``name`` of ``layer``."""
        return any((site.name, site.layer) == (name, layer) for site in self.used)

    def finish(self, tokens: Tensor) -> Tensor:
        """The final norm: (B, M, D) -> (B, M, D)."""
        raise NotImplementedError

    def finish_layer(self, output: LayerOutput) -> LayerOutput:
        """A layer's output as the library's own ``forward_intermediates(norm=True)`` gives it."""
        return output._replace(prefix=self.finish(output.prefix), patches=self.finish(output.patches))

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
        """What the network's own forward makes of the outputs of its layers ``taps``, none of them finished."""
        raise NotImplementedError


def _part(module: nn.Module, path: str) -> nn.Module | None:
    """What ``module`` has under the dotted name, or None: a block of another make may have no such part."""
    return reduce(lambda part, name: getattr(part, name, None), path.split('.') if path else (), module)


def is_a(model: nn.Module, path: str) -> bool:
    """Whether ``model`` is of the class ``path``, ``'library.module.Class'``, or of one derived from it."""
    kind = kind_of(path)
    return kind is not None and isinstance(model, kind)


def has_own_forward(model: nn.Module, path: str) -> bool:
    """Whether a model that is of that class computes another forward."""
    return type(model).forward is not kind_of(path).forward or 'forward' in vars(model)


def kind_of(path: str) -> type[nn.Module] | None:
    """The class ``'library.module.Class'``. Without importing the library: code that made a model of such a class has,
    and others may not have it at all."""
    module, _, name = path.rpartition('.')
    return getattr(sys.modules.get(module), name, None)


def measure_stem(model: nn.Module, name: str) -> tuple[int, int, int] | None:
    """(D, height, width) of the kernels of the convolution ``name``, if they can be made wider where they are used as
    they are: not standardised first, not in groups; else None."""
    stem = dict(model.named_modules()).get(name)
    if getattr(type(stem), 'forward', None) is not nn.Conv2d.forward or stem.groups > 1:
        return None
    return stem.out_channels, *stem.kernel_size


def count_channels(model: nn.Module, name: Any) -> int:
    """Of the images that the convolution ``name`` takes, or else the first one that there is; 3 without any."""
    modules = dict(model.named_modules())
    found = [modules.get(name) if isinstance(name, str) else None, *modules.values()]
    return next((module.in_channels for module in found if isinstance(module, nn.Conv2d)), 3)


#: Where a transformer's block, as one library or another writes it, has its sites.
IN_BLOCK = dict(
    norm1=('norm1', 'ln1', 'ln_1'),
    qkv=('attn.qkv', 'attn.w_msa.qkv'),
    q=('attn.q_proj', 'attn.q'),
    k=('attn.k_proj', 'attn.k'),
    v=('attn.v_proj', 'attn.v'),
    proj=('attn.proj', 'attn.w_msa.proj'),
    attn=('attn',),
    norm2=('norm2', 'ln2', 'ln_2'),
    fc1=('mlp.fc1', 'mlp.0', 'ffn.layers.0.0'),
    fc2=('mlp.fc2', 'mlp.3', 'ffn.layers.1'),
    mlp=('mlp', 'ffn.layers'),
)


def _at_site(block: nn.Module, name: str) -> nn.Module | None:
    found = (block.get_submodule(path) for path in IN_BLOCK[name] if _part(block, path) is not None)
    return next(found, None)


def find_net(model: nn.Module) -> type[Net] | None:
    """Find the wrapper class that supports a library's network.

    Args:
        model: A network of timm, torchvision, transformers, mmpretrain or mmsegmentation, or one for which you have
            registered a ``Net``.

    Returns:
        The class, or None if no wrapper supports ``model``.
    """
    NETS.import_from_location()
    return next((net for net in NETS.module_dict.values() if net.knows(model)), None)


def reasons(model: nn.Module) -> str:
    """Why a model is not known, though it is of the family of a net; empty where it is of none."""
    NETS.import_from_location()
    return ''.join(net.reason(model) for net in NETS.module_dict.values())


def wrap_backbone(model: nn.Module) -> Net:
    """Wrap a library's network, so that prompts can enter it.

    Args:
        model: As for ``find_net``. It is not changed.

    Returns:
        A ``Net`` that holds ``model``.

    Raises:
        ValueError: No wrapper supports ``model``. The message lists the wrappers.
    """
    net = find_net(model)
    if net is None:
        raise ValueError(
            f'no backbone wrapper supports {type(model).__module__}.{type(model).__name__}'
            f'{reasons(model)}. Available wrappers: '
            f'{", ".join(sorted(NETS.module_dict))}. CONTRIBUTING.md, "Add a network", shows how to add one'
        )
    return net(model)
