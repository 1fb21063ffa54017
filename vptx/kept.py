"""What a prompt file keeps of a model, and by what names.

Tensors of the prompted network are named as in it: ``prompter...``, ``net...``, ``mapping...``, ``map_norms...``. Those
outside it, such as a head next to a backbone, are ``outside.`` and their name in the smallest module that holds them
all and the prompted network. So the names do not depend on what is around: ``torch.compile``, a parallel wrapper, a
LightningModule, a module of one's own.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile

from torch import nn

from vptx.attach import find_prompted_network
from vptx.prompted import PromptedNetwork
from vptx.trainable import trained_names

__all__ = ['OUTSIDE', 'file_names', 'find_place', 'head_names', 'inner_name', 'kept_names', 'place_of']

OUTSIDE = 'outside.'
#: What every name in a prompted network begins with.
_PARTS = re.compile(r'^((?:.+?\.)?)(?:prompter|mapping|map_norms|net\.model)\.')


def kept_names(model: nn.Module) -> list[str]:
    """Names in the state dict that a prompt file holds: what training changes, and all of the prompter and of the
    label mapping, even what they drew or counted and never learn."""
    prompted, kept = find_prompted_network(model), set(trained_names(model))
    learnt = (prompted.prompter, prompted.mapping) if prompted else ()
    whole = tuple(f'{name}.' for name, module in model.named_modules() if module in learnt)
    return [name for name in model.state_dict() if name in kept or name.startswith(whole)]


def place_of(model: nn.Module) -> str:
    """What the names of the prompted network's tensors begin with in ``model``: ``''``, ``'backbone.'``, ..."""
    prompted = find_prompted_network(model)
    return next((f'{name}.' for name, module in model.named_modules() if module is prompted and name), '')


def find_place(names: Iterable[str]) -> str:
    """The same, found from the names of a file; ``'backbone.'`` where none of them is of the prompted network."""
    return next((found[1] for name in names if (found := _PARTS.match(name))), 'backbone.')


def file_names(names: Sequence[str], place: str) -> dict[str, str]:
    """Names in a model -> names in a prompt file.

    Args:
        names: of what is kept; they say what module holds all of it.
        place: see ``place_of``.
    """
    outside = [name for name in names if not name.startswith(place)]
    ways = zip(*(name.split('.')[:-1] for name in (place, *outside)), strict=False)
    around = ''.join(f'{steps[0]}.' for steps in takewhile(lambda steps: len(set(steps)) == 1, ways))
    inside = {name: inner_name(name[len(place) :]) for name in names if name.startswith(place)}
    return inside | {name: OUTSIDE + inner_name(name[len(around) :]) for name in outside}


def inner_name(name: str) -> str:
    """A name without what ``torch.compile`` of a part puts into it."""
    return name.replace('_orig_mod.', '')


def head_names(prompted: PromptedNetwork, names: Iterable[str]) -> set[str]:
    """Those of a prompt file's ``names`` that belong to one task and its classes: the network's own classifier, a
    label mapping that serves no other classes, and all that is outside the prompted network."""
    own = set(prompted.net.classifier.modules()) if prompted.net.classifier is not None else set()
    parts = (
        OUTSIDE,
        *([] if prompted.mapping.is_open else ['mapping.']),
        *(f'{inner_name(name)}.' for name, module in prompted.named_modules() if module in own),
    )
    return {name for name in names if name.startswith(parts)}
