"""The prompt file: what training changed, and all that is needed to know what it belongs to.

A ``.safetensors`` file of the trained tensors, with one metadata entry ``vptx``: JSON with the network's name, the
fingerprint of its frozen weights, the names of the prompts, the class names and the config. A run's own ``.pth``
carries the same facts in ``meta['vptx']`` beside the optimizer.
"""

import json
import reprlib
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save
from torch import Tensor, nn

from vptx.attach import find_hall
from vptx.files import digest, read_safetensors, safe_load, write_whole
from vptx.prompted import PromptedNetwork
from vptx.readout import OWN
from vptx.tensors import check_layout, check_numbers
from vptx.trainable import trained_names

__all__ = [
    'ClassNames',
    'check',
    'check_content',
    'check_fit',
    'check_frozen',
    'class_counts',
    'describe',
    'fingerprint',
    'kept_names',
    'load_prompt',
    'read_prompt',
    'save_prompt',
    'write_prompt',
]

FORMAT = 1
#: Facts beside the format: those that must be there, and those that may.
NEEDED = dict(network=str, fingerprint=str, prompter=str, prompts=list)
MORE = dict(classes=list, config=str, frozen_from=str)


class ClassNames(NamedTuple):
    """The names of the classes of a model, in the order of its outputs, and the file or the data set that gave them."""

    names: tuple[str, ...]
    where: str


def kept_names(model: nn.Module) -> list[str]:
    """Names in the state dict that a prompt file holds: what training changes, and all of the prompter and of the
    label mapping, even what they drew or counted and never learn."""
    hall, kept = find_hall(model), set(trained_names(model))
    learnt = (hall.prompter, hall.mapping) if hall else ()
    whole = tuple(f'{name}.' for name, module in model.named_modules() if module in learnt)
    return [name for name in model.state_dict() if name in kept or name.startswith(whole)]


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, shapes and values of all that no prompt file of ``model`` holds; its first 16 digits."""
    trained, hall = set(kept_names(model)), find_hall(model)
    frozen = ((name, tensor) for name, tensor in model.state_dict().items() if name not in trained)
    return digest(chain(frozen, hall.prompter.frozen_tensors() if hall else ()))


def describe(model: nn.Module, config: str = '', classes: Sequence[str] = ()) -> dict[str, Any]:
    """The facts that tell what a set of trained tensors belongs to; plain JSON types.

    Raises:
        ValueError: the model is not prompted, or has another number of classes.
    """
    hall = _prompted(model)
    _check_count(model, classes, 'this model')
    prompter = {id(parameter) for parameter in hall.prompter.parameters()}
    return dict(
        format=FORMAT,
        network=hall.net.geometry.name,
        fingerprint=fingerprint(model),
        prompter=type(hall.prompter).__name__,
        prompts=[name for name, parameter in model.named_parameters() if id(parameter) in prompter],
        classes=[str(name) for name in classes],
        config=config,
        frozen_from=hall.frozen_from,
    )


def _prompted(model: nn.Module) -> PromptedNetwork:
    hall = find_hall(model)
    if hall is None:
        raise ValueError(f'{type(model).__name__} is no prompted model: plug a prompter in with vptx.attach first')
    return hall


def class_counts(model: nn.Module) -> dict[str, int]:
    """How many classes the parts of ``model`` have that give its output, by name; those of unknown number are left
    out."""
    counts: list[tuple[str, Any]] = []
    for name in ('head', 'decode_head', 'auxiliary_head'):
        part = getattr(model, name, None)
        counts += [(name, getattr(p, 'num_classes', 0)) for p in (part if isinstance(part, nn.ModuleList) else [part])]
    hall = find_hall(model)
    if hall is not None:
        counts.append(('mapping', hall.mapping.num_classes))
        if hall is model and hall.readout == OWN and not hall.mapping.num_classes:
            counts.append(('classifier', hall.net.geometry.classes))
    return {name: count for name, count in counts if isinstance(count, int) and count}


def _check_count(model: nn.Module, classes: Sequence[str], where: str | Path) -> None:
    for part, count in class_counts(model).items():
        if classes and len(classes) != count:
            raise ValueError(f'{where} has names of {len(classes)} classes, the {part} of the model has {count}')


def check_content(tensors: Any, facts: Any, where: str | Path) -> None:
    """Make sure that tensors and facts are those of a prompt file, of whatever model.

    Raises:
        ValueError: begins with ``where``, and says what is missing or of another type.
    """
    known = facts.get('format') if isinstance(facts, dict) else None
    if type(known) is int and known > FORMAT:
        raise ValueError(f'{where} is a prompt file of format {known}, this vptx reads format {FORMAT}: update vptx')
    if type(known) is not int or known != FORMAT or not isinstance(tensors, dict):
        raise ValueError(f'{where} is no prompt file of vptx (format {FORMAT}): it does not say what it belongs to')
    for name, kind in {**NEEDED, **MORE}.items():
        value = facts.get(name)
        if name not in facts and name in MORE:
            continue
        if not isinstance(value, kind) or (kind is list and not all(isinstance(part, str) for part in value)):
            expected = 'a list of names' if kind is list else 'a text'
            raise ValueError(f'{where} is no prompt file of vptx: {name} is {reprlib.repr(value)}, not {expected}')
    check_layout(tensors, where)


def check_fit(model: nn.Module, tensors: Any, facts: Any, where: str | Path) -> None:
    """Make sure that ``tensors`` are trained tensors of a model such as this, its frozen weights aside.

    Raises:
        ValueError: of :func:`check_content`; another network, another prompter, number of classes or shape, a trained
            tensor that is missing, one too many, or values that are not finite.
    """
    hall = _prompted(model)
    check_content(tensors, facts, where)
    for what, ours in dict(network=hall.net.geometry.name, prompter=type(hall.prompter).__name__).items():
        if facts[what] != ours:
            raise ValueError(f'{where} belongs to the {what} {facts[what]}, this model has {ours}')
    own, trained = model.state_dict(), kept_names(model)
    faults = [f'lacks {name}' for name in trained if name not in tensors]
    faults += [f'has {name}, which does not train here' for name in tensors if name not in trained]
    faults += [
        f'has {name} of shape {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}'
        for name in trained
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if faults:
        more = f'; and {len(faults) - 5} more' if len(faults) > 5 else ''
        raise ValueError(f'{where} does not fit this model: it {"; ".join(faults[:5])}{more}')
    check_numbers(tensors, own, where)
    _check_count(model, facts.get('classes', ()), where)


def check_frozen(model: nn.Module, facts: Mapping[str, Any], where: str | Path) -> None:
    """Make sure that ``model`` has the frozen weights that a file was trained on.

    Raises:
        ValueError: it has others.
    """
    here = fingerprint(model)
    if facts['fingerprint'] == here:
        return
    source = facts.get('frozen_from')
    advice = (
        f'load the weights it was trained on. It says that they are in {source!r}; nothing is read or downloaded '
        f'because a file says so: if you trust it, set frozen_from={source!r} in the config'
        if source
        else 'load the weights it was trained on'
    )
    raise ValueError(
        f'{where} was trained on other frozen weights of {_frozen(model)} (fingerprint {facts["fingerprint"]}, here '
        f'{here}): {advice}'
    )


def check(model: nn.Module, tensors: Any, facts: Any, where: str | Path) -> None:
    """Make sure that ``tensors`` are the trained tensors of this very ``model``.

    Raises:
        ValueError: of :func:`check_fit` and :func:`check_frozen`; begins with ``where``.
    """
    check_fit(model, tensors, facts, where)
    check_frozen(model, facts, where)


def _frozen(model: nn.Module) -> str:
    """What has weights that no prompt file holds."""
    hall = find_hall(model)
    assert hall is not None
    name, frozen = hall.net.geometry.name, dict(hall.prompter.frozen_tensors())
    return f'{name}, or of the frozen part of {type(hall.prompter).__name__},' if frozen else name


def write_prompt(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a prompt file, whole or not at all."""
    path = Path(path)
    if path.suffix != '.safetensors':
        raise ValueError(f'a prompt file ends in .safetensors, not {path.name}')
    content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {'vptx': json.dumps(facts)})
    write_whole(path, content)


def read_prompt(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Trained tensors and facts of a prompt file or of a run's ``.pth``; no code that a file carries is run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, refused as unsafe, or not written by vptx.
    """
    path = Path(path)
    tensors: Any
    if path.suffix == '.safetensors':
        tensors, facts = read_safetensors(path)
    else:
        found = safe_load(path)
        tensors, meta = (found.get('state_dict'), found.get('meta')) if isinstance(found, dict) else (None, None)
        facts = meta.get('vptx') if isinstance(meta, dict) else None
    check_content(tensors, facts, path)
    return tensors, facts


def save_prompt(
    model: nn.Module, path: str | Path, config: str = '', classes: Sequence[str] = (), plain: bool = False
) -> None:
    """Write what trains in ``model`` to ``path`` (``.safetensors``), with what is needed to check it on loading.

    Args:
        model: one that :func:`vptx.attach` prompted.
        path: where to.
        config: the text of the run's config.
        classes: the names of the head's classes, in order.
        plain: write the prompts of the ``DeepPrompter`` without options that computes the same: load the file into a
            model that has one. ``config``, if given, is then that of such a model.

    Raises:
        ValueError: ``plain`` of a prompter that has no such form.
    """
    hall = _prompted(model)
    learnt, found = hall.prompter, hall.prompter.plain() if plain else hall.prompter
    if found is None:
        raise ValueError(
            f'plain=True writes the DeepPrompter that computes the same, and {type(learnt).__name__} has no such form: '
            'leave plain out'
        )
    hall.prompter = found
    try:
        state = model.state_dict()
        write_prompt(path, {name: state[name] for name in kept_names(model)}, describe(model, config, classes))
    finally:
        hall.prompter = learnt


def load_prompt(model: nn.Module, path: str | Path) -> dict[str, Any]:
    """Load a prompt file into ``model``, prompted as it was when the file was written.

    Returns:
        The facts in the file: ``network``, ``classes``, ``config``, ...

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a prompt file, or one of another model; the model is left as it was.
    """
    tensors, facts = read_prompt(path)
    check(model, tensors, facts, path)
    model.load_state_dict(tensors, strict=False)  # looked at: check() found every trained name and no other
    find_hall(model).classes = ClassNames(tuple(facts.get('classes', ())), str(path))
    return facts
