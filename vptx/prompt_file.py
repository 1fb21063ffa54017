"""The prompt file: what training changed, and all that is needed to know what it belongs to.

A ``.safetensors`` file of the trained tensors, with one metadata entry ``vptx``: JSON with the network's name, the
fingerprint of its frozen weights, the names of the prompts, the class names and the config. A run's own ``.pth``
carries the same facts in ``meta['vptx']`` beside the optimizer.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from vptx.attach import find_hall
from vptx.files import digest, read_safetensors, safe_load, write_whole
from vptx.trainable import trained_names

__all__ = [
    'check',
    'describe',
    'fingerprint',
    'kept_names',
    'load_prompt',
    'read_prompt',
    'save_prompt',
    'write_prompt',
]

FORMAT = 1
NEEDED = {'network', 'fingerprint', 'prompter', 'prompts'}


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
    return digest(chain(frozen, hall.prompter.brought() if hall else ()))


def describe(model: nn.Module, config: str = '', classes: Sequence[str] = ()) -> dict[str, Any]:
    """The facts that tell what a set of trained tensors belongs to; plain JSON types."""
    hall = find_hall(model)
    if hall is None:
        raise ValueError(f'{type(model).__name__} is no prompted model: plug a prompter in with vptx.attach first')
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


def check(model: nn.Module, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], where: str | Path) -> None:
    """Make sure that ``tensors`` are the trained tensors of this very ``model``.

    Raises:
        ValueError: another network, another prompter or shape, a trained tensor that is missing, one too many, or
            other frozen weights.
    """
    here = describe(model)
    for what in ('network', 'prompter'):
        if facts[what] != here[what]:
            raise ValueError(f'{where} belongs to the {what} {facts[what]}, this model has {here[what]}')
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
    if facts['fingerprint'] != here['fingerprint']:
        raise ValueError(
            f'{where} was trained on other frozen weights of {_frozen(model)} (fingerprint {facts["fingerprint"]}, '
            f'here {here["fingerprint"]}): load the weights it was trained on'
        )


def _frozen(model: nn.Module) -> str:
    """What has weights that no prompt file holds."""
    hall = find_hall(model)
    assert hall is not None
    name, brought = hall.net.geometry.name, dict(hall.prompter.brought())
    return f'{name}, or of what {type(hall.prompter).__name__} brings,' if brought else name


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
    facts: Any
    if path.suffix == '.safetensors':
        tensors, facts = read_safetensors(path)
    else:
        found = safe_load(path)
        tensors, meta = (found.get('state_dict'), found.get('meta')) if isinstance(found, dict) else (None, None)
        facts = meta.get('vptx') if isinstance(meta, dict) else None
    known = isinstance(facts, dict) and facts.get('format') == FORMAT and NEEDED <= facts.keys()
    if not known or not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise ValueError(f'{path} is no prompt file of vptx (format {FORMAT}): it does not say what it belongs to')
    return tensors, facts


def save_prompt(model: nn.Module, path: str | Path, config: str = '', classes: Sequence[str] = ()) -> None:
    """Write what trains in ``model`` to ``path`` (``.safetensors``), with what is needed to check it on loading.

    Args:
        model: one that :func:`vptx.attach` prompted.
        path: where to.
        config: the text of the run's config.
        classes: the names of the head's classes, in order.
    """
    state = model.state_dict()
    write_prompt(path, {name: state[name] for name in kept_names(model)}, describe(model, config, classes))


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
    return facts
