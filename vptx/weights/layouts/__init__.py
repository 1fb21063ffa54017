"""Public layouts of names, each converted to timm's: one file for each.

A layout is a module with ``NAME``, ``knows(names) -> bool`` and ``convert(tensors, model) -> tensors``. It renames what
it knows and passes on the rest, so nothing that was not asked for can take a place in the model, and all of it is
reported. Add one: write the module, put it into ``LAYOUTS``.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from . import google, hugging_face, inverted_residuals, mm_convnext, mm_resnet, mm_swin, mm_vit, timm_names
from .timm_names import classifiers

__all__ = ['LAYOUTS', 'Converted', 'to_timm']

# Asked in this order; the last takes what is left, the others look for names that only they have.
LAYOUTS = (google, hugging_face, mm_vit, mm_swin, mm_convnext, mm_resnet, inverted_residuals, timm_names)

# What may stand before a backbone's names, from the outside in. Once one does, what does not begin with it is aside.
_WRAPPERS = {
    'module.': '',  # DistributedDataParallel
    'base_encoder.': '',  # MoCo v3; its momentum_encoder is another network
    'teacher.': '',  # DINOv2
    'backbone.net.model.': '',  # a run of vptx
    'net.model.': '',  # a prompt file of vptx
    'backbone.': '',  # OpenMMLab, DINO
    'visual.': 'visual.',  # CLIP, besides its text tower; timm knows it by this name
}
# Of these, the ones next to which OpenMMLab's head is.
_NEXT_TO_A_HEAD = ('backbone.net.model.', 'net.model.', 'backbone.')


class Converted(NamedTuple):
    """Tensors of a file, as timm names them.

    Attributes:
        tensors: by timm's names.
        aside: names in the file of what was left out.
        resized: names of what was resized, with the shapes before and after.
        layout: which of ``LAYOUTS`` the file has.
    """

    tensors: dict[str, Tensor]
    aside: list[str]
    resized: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    layout: str


def to_timm(tensors: Mapping[str, Tensor], model: nn.Module, positions: str) -> Converted:
    """The tensors of a file, in any of ``LAYOUTS``, named and sized as those of ``model``.

    Raises:
        ValueError: tensors that cannot be made fit.
    """
    found = _convert(tensors, model, positions)
    first = {name.partition('.')[0] for name in tensors}
    if len(first) == 1 and not found.tensors.keys() & model.state_dict().keys():
        # A module of one's own around it, such as a LightningModule with ``self.model``.
        inside = {name.partition('.')[2]: value for name, value in tensors.items()}
        inner = to_timm(inside, model, positions) if '' not in inside else found
        return inner if inner.tensors.keys() & model.state_dict().keys() else found
    return found


def _convert(tensors: Mapping[str, Tensor], model: nn.Module, positions: str) -> Converted:
    bare, aside = _unwrap(tensors, model)
    layout = next(layout for layout in LAYOUTS if layout.knows(bare))
    if layout is not timm_names:
        bare = layout.convert(bare, model)
    done = timm_names.convert(bare, model, positions)
    # timm renames without copying, so what is nowhere in its result was dropped, or made again in another size.
    still, resized = {value.untyped_storage().data_ptr() for value in done.values()}, {}
    for name, value in bare.items():
        here = 'pos_embed' if name == 'visual.positional_embedding' else name
        if value.untyped_storage().data_ptr() in still:
            continue
        if here not in done:
            aside.append(name)
        elif done[here].numel() != value.numel():
            resized[here] = tuple(value.shape), tuple(done[here].shape)
    return Converted(done, aside, resized, layout.NAME)


def _unwrap(tensors: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """The backbone's tensors, and its classifier's, by their bare names; names of the others."""
    bare, aside = dict(tensors), []
    for wrapper, stays in _WRAPPERS.items():
        if not any(name.startswith(wrapper) for name in bare):
            continue
        inside = {stays + name.removeprefix(wrapper): v for name, v in bare.items() if name.startswith(wrapper)}
        for name, value in bare.items():
            if name.startswith(wrapper):
                continue
            kind, _, part = name.rpartition('.')
            kind = kind.removeprefix('outside.')
            if wrapper in _NEXT_TO_A_HEAD and kind in ('head.fc', 'head.layers.head') and classifiers(model):
                inside[f'{classifiers(model)[0]}.{part}'] = value
            else:
                aside.append(name)
        bare = inside
    return bare, aside
