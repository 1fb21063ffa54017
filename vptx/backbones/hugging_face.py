"""What the vision models of Hugging Face's transformers have in common: how they are recognised, built and called.

https://github.com/huggingface/transformers. Nothing of it is imported before a model is built by name or config: code
that has a model has imported it. A model is an encoder, such as ``ViTModel``, or an encoder with a head, such as
``ViTForImageClassification``, which is called as it is, with the encoder's outputs in place of the encoder.
"""

import sys
from collections.abc import Sequence
from copy import copy
from importlib import import_module
from inspect import signature
from operator import attrgetter
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from vptx.backbones.base import Context, Net, count_channels, is_a, kind_of, measure_stem
from vptx.geometry import Site

__all__ = ['HALF', 'IMAGENET', 'Family', 'HuggingFaceNet']

#: The oldest version whose models have the modules that are named here.
OLDEST = 5, 18
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5,) * 3, (0.5,) * 3
#: Attention of these computes what its weights say.
_EXACT = ('eager', 'sdpa')


class Family(NamedTuple):
    """Where one family of transformers keeps its parts.

    Attributes:
        module: of transformers, such as ``'vit'``.
        encoder: name of the class without a head.
        block: of the class of a layer; that of its attention is ``attention``.
        attention: see above.
        heads: of the classes with a head.
        pixels: mean and standard deviation of the images that the published checkpoints were trained with.
        layers, stem: paths in the encoder, of the layers and of the convolution that sees the image.
        parts: paths in a layer: norm, attention and its last map, norm.
        norm: path in the encoder of the norm after all layers; empty where only pooled features are normed.
    """

    module: str
    encoder: str
    block: str
    attention: str
    heads: Sequence[str]
    pixels: tuple[tuple[float, ...], tuple[float, ...]]
    layers: str
    stem: str
    parts: tuple[str, str, str, str]
    norm: str = 'layernorm'

    def path(self, name: str) -> str:
        return f'transformers.models.{self.module}.modeling_{self.module}.{name}'

    def kind(self, name: str) -> type[nn.Module]:
        return kind_of(self.path(name))

    def replaced(self) -> dict[str, tuple[type[nn.Module], ...]]:
        """The modules of a layer that are not called where it is computed from weights, with their types."""
        norm1, attention, _, _ = self.parts
        maps = {f'{attention}.{name}': (nn.Linear,) for name in ('q_proj', 'k_proj', 'v_proj')}
        return {'': (self.kind(self.block),), norm1: (nn.LayerNorm,), attention: (self.kind(self.attention),), **maps}

    def places(self, block: nn.Module) -> dict[str, str]:
        """Where the sites of a layer are, those that it has. Its attention returns a pair, so the map after it, which
        gives the same, is its site."""
        norm1, attention, last, norm2 = self.parts
        found = dict(
            norm1=norm1,
            q=f'{attention}.q_proj',
            k=f'{attention}.k_proj',
            v=f'{attention}.v_proj',
            proj=f'{attention}.{last}',
            attn=f'{attention}.{last}',
            norm2=norm2,
        )
        for first, second in (('fc1', 'fc2'), ('up_proj', 'down_proj')):
            if hasattr(block.mlp, first) and not hasattr(block.mlp, 'gate_proj'):
                found |= dict(fc1=f'mlp.{first}', fc2=f'mlp.{second}')
        return {**found, 'mlp': 'mlp'}

    def sites(self, block: nn.Module, layer: int, width: int) -> list[Site]:
        """The sites of a layer."""
        found = []
        for name, path in self.places(block).items():
            module = block.get_submodule(path)
            inputs, outputs = getattr(module, 'in_features', width), getattr(module, 'out_features', width)
            found.append(Site(name, layer, inputs if name != 'attn' else outputs, outputs))
        return found


class HuggingFaceNet(Net):
    """A vision model of transformers; the base class of the wrappers of its families.

    Args:
        model: a built model; the folder or the hub's name of one, for ``AutoModel.from_pretrained``; or the values of a
            config, ``dict(model_type='vit', hidden_size=192, ...)``, for one with random weights.
        classifier: whether to build, by name or config, a model with its classifier:
            ``AutoModelForImageClassification``.
        mean, std: of pixels in [0, 1], each with a value for every channel. The library keeps them in an image
            processor, not in the model, so by default they are those of the family's published checkpoints.
        **arguments: of ``from_pretrained``, for a name.

    Attributes:
        families: of which it is one.
        encoder: the part of ``model`` without its head, or all of it.

    Raises:
        ImportError: transformers is not installed, or is too old.
        ValueError: a model of another family, or with a forward of its own.
    """

    families: ClassVar[Sequence[Family]]

    def __init__(
        self,
        model: str | dict | nn.Module,
        classifier: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **arguments,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            model = _build(model, classifier, arguments)
        if not self.knows(model):
            names = ', '.join(family.encoder for family in self.families)
            raise ValueError(
                f'{type(self).__name__} wraps {names} of transformers, not {type(model).__name__}{self.reason(model)}'
            )
        self.model = model
        self.family, self._at = self._found(model) or (self.families[0], '')
        self._check_version()
        self.stem = f'{self._at}.{self.family.stem}'.lstrip('.')
        self.channels = count_channels(model, self.stem)
        self._mean, self._std = self._pixels(mean, std)

    @classmethod
    def _found(cls, model: nn.Module) -> tuple[Family, str] | None:
        """The family of a model, and where in it the encoder is."""
        for family in cls.families:
            if is_a(model, family.path(family.encoder)):
                return family, ''
            if any(is_a(model, family.path(head)) for head in family.heads):
                for name, part in model.named_children():
                    if is_a(part, family.path(family.encoder)):
                        return family, name
        return None

    @classmethod
    def knows(cls, model: nn.Module) -> bool:
        return cls._found(model) is not None and not cls.overridden(model)

    @classmethod
    def overridden(cls, model: nn.Module) -> tuple[str, ...]:
        found = cls._found(model)
        if found is None:
            return ()
        family, at = found
        kinds = [family.kind(name) for name in (family.encoder, *family.heads) if kind_of(family.path(name))]
        for part in (model, model.get_submodule(at)):
            if 'forward' in vars(part) or not any(type(part).forward is kind.forward for kind in kinds):
                return ('forward',)
        return ()

    @property
    def encoder(self) -> nn.Module:
        return self.model.get_submodule(self._at)

    @property
    def has_head(self) -> bool:
        return bool(self._at)

    @property
    def config(self) -> Any:
        """Of the encoder."""
        return self.encoder.config

    @property
    def classifier(self) -> nn.Module | None:
        """What maps features onto classes, or onto the space that CLIP shares with texts."""
        names = ('classifier', 'visual_projection', 'cls_classifier', 'distillation_classifier')
        found = [getattr(self.model, name) for name in names if isinstance(getattr(self.model, name, None), nn.Linear)]
        return found[0] if len(found) == 1 else nn.ModuleList(found) if found else None

    @property
    def class_names(self) -> tuple[str, ...]:
        names = getattr(self.model.config, 'id2label', None) or {}
        if self.model.config.num_labels != self._classes or any(f'LABEL_{i}' == name for i, name in names.items()):
            return ()
        return tuple(names[i] for i in sorted(names))

    @property
    def grad_checkpointing(self) -> bool:
        return any(getattr(module, 'gradient_checkpointing', False) for module in self.model.modules())

    @property
    def fixed_size(self) -> bool:
        """Whether the library takes images of another size only where it is asked to resize positions."""
        return 'interpolate_pos_encoding' in signature(type(self.encoder.embeddings).forward).parameters

    @property
    def recorded(self) -> tuple[int, ...]:
        """The layers before which the library notes its ``hidden_states``; L for the end."""
        return tuple(range(self.geometry.depth + 1))

    def record(self, tokens: Tensor, layer: int, context: Context) -> Tensor:
        """What it notes there: (B, K+N, D) without prompts -> (B, K+N, D)."""
        return tokens

    def is_spelt(self, layer: int) -> bool:
        exact = getattr(self.config, '_attn_implementation', None) in _EXACT
        return exact and super().is_spelt(layer)

    def finish(self, tokens: Tensor) -> Tensor:
        return attrgetter(self.family.norm)(self.encoder)(tokens) if self.family.norm else tokens

    def classify(self, tokens: Tensor, context: Context) -> Tensor:
        answer = self.answer(tokens, None)
        for name in ('logits', 'image_embeds', 'pooler_output'):
            if answer.get(name) is not None:
                return answer[name]
        return answer['last_hidden_state']

    def answer(self, tokens: Tensor, image: Tensor | None, states: Sequence[Tensor] | None = None, **options) -> Any:
        """What the library's model returns: finished tokens (B, K+N, D) -> its output object.

        Args:
            tokens: finished.
            image: (B, C, H, W), for shapes alone.
            states: to be its ``hidden_states``.
            **options: of the library's forward, such as ``labels``.
        """
        output = self.output(tokens, image, None if states is None else tuple(states))
        if not self._at:
            return output
        head = copy(self.model)
        head._modules = {**head._modules, self._at: _Given(output)}
        return head(pixel_values=image, return_dict=True, **options)

    def output(self, tokens: Tensor, image: Tensor | None, states: tuple[Tensor, ...] | None) -> Any:
        """What the library's encoder returns."""
        kind: Any = kind_of('transformers.modeling_outputs.BaseModelOutputWithPooling')
        return kind(last_hidden_state=tokens, pooler_output=self.pool(tokens), hidden_states=states)

    def pool(self, tokens: Tensor) -> Tensor | None:
        """The library's ``pooler_output`` of finished tokens."""
        raise NotImplementedError

    @property
    def _kernels(self) -> Tensor:
        return self.model.get_submodule(self.stem).weight

    @property
    def _classes(self) -> int:
        heads = self.classifier
        head = heads[0] if isinstance(heads, nn.ModuleList) else heads
        return getattr(head, 'out_features', 0)

    def _common(self, image: Any, patch: Any, depth: int, width: int) -> dict[str, Any]:
        """The part of the geometry that is asked of the same places in all of them."""
        image, patch = (size if isinstance(size, int) else tuple(size) for size in (image, patch))
        return dict(
            name=f'transformers.{type(self.model).__name__}, {depth} x {width}',
            image=(image, image) if isinstance(image, int) else image,
            patch=(patch, patch) if isinstance(patch, int) else patch,
            mean=self._mean,
            std=self._std,
            stem=measure_stem(self.model, self.stem),
            channels=self.channels,
            classes=self._classes,
        )

    def _grid(self, image: Tensor) -> tuple[int, int]:
        """(H', W') of an image, as its convolution cuts it."""
        stem = self.model.get_submodule(self.stem)
        rows, columns = ((s - k) // d + 1 for s, k, d in zip(image.shape[-2:], stem.kernel_size, stem.stride))
        return rows, columns

    def _check_image(self, image: Tensor) -> Tensor:
        """The image in the network's type of numbers.

        Raises:
            ValueError: other channels than the network has, or patches that do not divide it.
        """
        size, (height, width) = tuple(image.shape[-2:]), self.geometry.patch
        kernels = self._kernels
        if image.shape[1] != kernels.shape[1]:
            raise ValueError(
                f'an image of {image.shape[1]} channels, but {self.geometry.name} takes {kernels.shape[1]}'
            )
        if size != self.geometry.image and (size[0] % height or size[1] % width):
            raise ValueError(f'patches of {height} x {width} px do not divide an image of {size[0]} x {size[1]} px')
        return image.to(kernels.dtype)

    def _embeddings(self) -> nn.Module:
        """The library's embeddings; where its kernels have been made wider, a copy of them that takes the channels."""
        embeddings = self.encoder.embeddings
        patches, channels = getattr(embeddings, 'patch_embeddings', None), self._kernels.shape[1]
        if getattr(patches, 'num_channels', channels) == channels:
            return embeddings
        embeddings, patches = copy(embeddings), copy(patches)
        patches.num_channels = channels
        embeddings._modules = dict(embeddings._modules, patch_embeddings=patches)
        return embeddings

    def _pixels(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> tuple[tuple, tuple]:
        given = [tuple(values) for values in (mean, std) if values is not None]
        if len(given) == 1 or any(len(values) != self.channels for values in given):
            raise ValueError(
                f'mean and std of the pixels have to be given together, {self.channels} values each, as many as '
                f'{type(self.model).__name__} has channels; not mean={mean!r} and std={std!r}'
            )
        return (given[0], given[1]) if given else self.family.pixels

    def _check_version(self) -> None:
        version = getattr(sys.modules.get('transformers'), '__version__', '0')
        lacking = [path for path in (self.family.layers, self.family.stem) if not _has(self.encoder, path)]
        first = None if lacking else next(self.encoder.get_submodule(self.family.layers).children(), None)
        lacking += [path for path in self._needed() if first is not None and not _has(first, path)]
        if lacking:
            raise ImportError(
                f'{type(self.model).__name__} of transformers {version} has no {lacking[0]}: vptx wraps the models of '
                f"transformers {OLDEST[0]}.{OLDEST[1]} or later, for Python 3.11: pip install -U 'vptx[hf]'"
            )

    def _needed(self) -> Sequence[str]:
        """Paths in a layer."""
        norm1, attention, last, norm2 = self.family.parts
        return norm1, norm2, *(f'{attention}.{name}' for name in ('q_proj', 'k_proj', 'v_proj', last))


class _Given(nn.Module):
    """An encoder that has been run."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.output


def _has(module: nn.Module, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True


def _build(model: str | dict, classifier: bool, arguments: dict) -> nn.Module:
    library = _library()
    kind = getattr(library, 'AutoModelForImageClassification' if classifier else 'AutoModel')
    if isinstance(model, str):
        # Code that comes with a model is not run, and no question is asked.
        return kind.from_pretrained(model, **{'trust_remote_code': False, **arguments})
    return kind.from_config(library.AutoConfig.for_model(**model, **arguments))


def _library() -> ModuleType:
    """transformers, imported.

    Raises:
        ImportError: it is not there, or too old.
    """
    oldest = '.'.join(map(str, OLDEST))
    needed = f"Models of Hugging Face need transformers {oldest} or later and Python 3.11: pip install 'vptx[hf]'"
    try:
        library = import_module('transformers')
    except ImportError as error:
        python = '.'.join(map(str, sys.version_info[:2]))
        raise ImportError(f'{needed}. It cannot be imported here, by Python {python}: {error}') from error
    if tuple(map(int, library.__version__.split('.')[:2])) < OLDEST:
        raise ImportError(f'{needed}. Here is transformers {library.__version__}')
    return library
