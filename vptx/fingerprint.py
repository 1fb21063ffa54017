"""Fingerprints of frozen weights: what a prompt file says of the network that its prompts were learnt for.

A fingerprint is a hash, so it shows any difference, down to the last bit. Half precision rounds weights, so a hash is
kept for each precision that they can be rounded to, and two networks are compared in the widest one that both have: a
network in float32 in float32, and with one in bfloat16 in bfloat16.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vptx.attach import find_prompted_network
from vptx.files import digest
from vptx.kept import OUTSIDE, head_names, inner_name, kept_names, place_of

__all__ = ['fingerprint', 'fingerprints', 'other_weights']

#: From the widest; wider ones are rounded to the first.
PRECISIONS = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'float16': torch.float16}


def fingerprint(model: nn.Module, place: str | None = None) -> str:
    """One hash over names, shapes, types and values of all that no prompt file of ``model`` holds, as it is; files of
    format 1 have it.

    Args:
        model: prompted.
        place: what the names of the prompted network's tensors began with where the file was written.
    """
    kept, prompted, here = set(kept_names(model)), find_prompted_network(model), place_of(model)
    place = here if place is None else place
    found = [
        (place + name.removeprefix(here) if name.startswith(here) else name, tensor)
        for name, tensor in model.state_dict().items()
        if name not in kept
    ]
    if prompted:
        found += [*prompted.prompter.frozen_tensors(), *prompted.mapping.frozen_tensors()]
    return digest(found)


def fingerprints(model: nn.Module) -> dict[str, dict[str, str]]:
    """Part -> precision -> hash over names, shapes and values of what is frozen there.

    The parts are ``'backbone'``, with what the prompter holds frozen; ``'positions'``, which a library resizes to
    another image size; ``'classifier'``, the network's own; ``'text'``, what a label mapping holds frozen; and
    ``'outside.head'``, say, of each module next to the prompted network. A part in which nothing is frozen is left out.
    """
    return {
        part: {precision: _digest(tensors, precision) for precision in _precisions(tensors)}
        for part, tensors in _parts(model).items()
    }


def other_weights(model: nn.Module, facts: Mapping[str, Any], head: bool = True) -> str:
    """What of ``model`` is frozen with other values than the file of ``facts`` was written with; ``''`` if nothing is.

    Positions are compared where both are for images of one size, classifiers and what is outside where both have
    them.

    Args:
        model: prompted.
        facts: of the file.
        head: whether the classifier and what is outside count.
    """
    known = facts['fingerprint']
    if isinstance(known, str):
        whole = fingerprint(model, facts.get('at'))
        return '' if known == whole else f'fingerprint {known}, here {whole}'
    prompted, present = find_prompted_network(model), _parts(model)
    assert prompted is not None
    same_size = list(prompted.net.geometry.image) == list(facts['image'])
    either, both = present.keys() | known.keys(), present.keys() & known.keys()
    compared = {'backbone': either, 'positions': either if same_size else set()}
    for part in sorted(either):
        if part not in compared.get(part, both if head else set()):
            continue
        recorded, tensors = known.get(part, {}), present.get(part, [])
        here = _precisions(tensors) if tensors else []
        if not (recorded and here):
            return f'the {"file" if recorded else "model"} alone has a frozen {part}'
        shared = [precision for precision in here if precision in recorded]
        if not shared:
            return (
                f'its {part} was in {next(iter(recorded))} and is in {here[0]} here, which round in ways of their own'
            )
        expected, found = recorded[shared[0]], _digest(tensors, shared[0])
        if expected != found:
            return f'fingerprint of its {part} in {shared[0]} {expected}, here {found}'
    return ''


def _parts(model: nn.Module) -> dict[str, list[tuple[str, Tensor]]]:
    prompted, place, kept = find_prompted_network(model), place_of(model), set(kept_names(model))
    assert prompted is not None
    inside = {name: tensor for name, tensor in prompted.state_dict().items() if place + name not in kept}
    named = [(inner_name(name), tensor) for name, tensor in inside.items()]
    head = head_names(prompted, [name for name, _ in named])
    positions = {name for name, _ in named if name.rpartition('.')[2] in prompted.net.positions}
    parts: dict[str, list[tuple[str, Tensor]]] = dict(
        backbone=[pair for pair in named if pair[0] not in head | positions] + list(prompted.prompter.frozen_tensors()),
        positions=[pair for pair in named if pair[0] in positions - head],
        classifier=[pair for pair in named if pair[0] in head],
        text=list(prompted.mapping.frozen_tensors()),
    )
    # Next to it, whatever wraps it; not what is further out, nor the network again by a second name.
    around = re.sub(r'[^.]+\.((_orig_mod|module)\.)*$', '', place)
    own = {tensor.data_ptr() for tensor in prompted.state_dict().values()}
    for name, tensor in model.state_dict().items():
        if name.startswith(around) and not name.startswith(place) and name not in kept and tensor.data_ptr() not in own:
            name = OUTSIDE + inner_name(name[len(around) :])
            parts.setdefault('.'.join(name.split('.')[:2]), []).append((name, tensor))
    return {part: tensors for part, tensors in parts.items() if tensors}


def _precisions(tensors: Sequence[tuple[str, Tensor]]) -> list[str]:
    """Those in which it can be computed how ``tensors`` would be rounded."""
    kinds = {tensor.dtype for _, tensor in tensors if tensor.is_floating_point()}
    half = [name for name, kind in PRECISIONS.items() if kind in kinds and kind.itemsize < 4]
    return half[:1] or list(PRECISIONS)


def _digest(tensors: Iterable[tuple[str, Tensor]], precision: str) -> str:
    kind = PRECISIONS[precision]
    return digest((name, tensor.to(kind) if tensor.is_floating_point() else tensor) for name, tensor in tensors)
