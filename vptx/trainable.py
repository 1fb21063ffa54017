"""What trains: one list of patterns over parameter names, one function that applies it, one table that says so."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from mmengine.model import is_model_wrapper
from torch import nn

__all__ = [
    'freeze',
    'matches',
    'print_trainable_parameters',
    'set_mode',
    'trainable_table',
    'trained_names',
    'unwrap_model',
]


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside MMEngine's wrapper for distributed training."""
    return model.module if is_model_wrapper(model) else model  # type: ignore[return-value]


def matches(pattern: str, name: str) -> bool:
    """Whether ``pattern``, a regular expression, covers whole components of the dotted ``name``.

    ``head`` matches ``head.fc.weight`` but not ``head_dist.weight``; ``blocks.1`` matches block 1 but not block 11;
    ``bias`` matches every bias.
    """
    return re.search(rf'(^|\.)({pattern})(\.|$)', name) is not None


def freeze(model: nn.Module, tune: Sequence[str], also: nn.Module) -> None:
    """Let exactly those parameters of ``model`` train whose names match a pattern of ``tune``, and those of ``also``.

    A pattern after an exclamation mark takes out again: ``['.*', '!norm']`` is all but the final norm, ``['head',
    '!prompter']`` leaves the prompts as they were drawn.

    Raises:
        ValueError: no list of patterns, or a pattern that is no regular expression or that matches nothing (offers the
            nearest components).
    """
    if isinstance(tune, str):
        raise ValueError(f"tune is a list of patterns: write tune=['{tune}']")
    if not isinstance(tune, Sequence) or not all(isinstance(entry, str) for entry in tune):
        raise ValueError(f"tune is a list of patterns, such as ['head'], or [] for none; not {tune!r}")
    parameters = dict(model.named_parameters())
    for pattern in (entry.removeprefix('!') for entry in tune):
        try:
            hit = any(matches(pattern, name) for name in parameters)
        except re.error as error:
            raise ValueError(f"tune: '{pattern}' is not a regular expression: {error}") from error
        if not hit:
            components = sorted({part for name in parameters for part in name.split('.')})
            near = get_close_matches(pattern, components, n=3) or [c for c in components if not c.isdigit()][:12]
            raise ValueError(f"tune: '{pattern}' matches no parameter; names here have {', '.join(near)}, ...")
    also.requires_grad_(True)
    learnt = {id(parameter) for parameter in also.parameters()}
    excluded = [entry[1:] for entry in tune if entry.startswith('!')]
    included = [entry for entry in tune if not entry.startswith('!')]
    for name, parameter in parameters.items():
        wanted = id(parameter) in learnt or any(matches(pattern, name) for pattern in included)
        parameter.requires_grad = wanted and not any(matches(pattern, name) for pattern in excluded)


def set_mode(module: nn.Module, training: bool, partly: bool = False) -> None:
    """Put ``module`` in training mode where all of its parameters train, in eval mode elsewhere.

    So a frozen network keeps its dropout, drop path and batch statistics still, a tuned last block gets its own, and
    full fine-tuning is what it always was. A dropout does as the module that it feeds, the next one with parameters
    next to it: that of a head is on in a linear probe. Another module without parameters does as the one around it.

    Args:
        module: a frozen network, or what is learnt.
        training: whether it is put in training mode at all.
        partly: whether a module that has others inside trains where any of its parameters does, as in a prompter,
            some of whose prompts may be kept as they were drawn.
    """

    found: dict[nn.Module, set[bool]] = {}
    _gather(module, found)

    def trains(module: nn.Module) -> bool:
        whole = not partly or module._buffers or next(module.children(), None) is None
        return found[module] <= {True} if whole else True in found[module]

    def settle(module: nn.Module, mode: bool) -> None:
        module.training = mode
        children = list(module.children())
        for index, child in enumerate(children):
            fed = [other for other in children[index:] if found[other]] if _is_dropout(child) else [child]
            settle(child, training and trains(fed[0]) if fed and found[fed[0]] else mode)

    settle(module, training and trains(module))


def _gather(module: nn.Module, found: dict[nn.Module, set[bool]]) -> set[bool]:
    """For ``module`` and each module in it: whether parameters in it train; both where some do, none without any."""
    own = {parameter.requires_grad for parameter in module.parameters(recurse=False)}
    found[module] = own.union(*(_gather(child, found) for child in module.children()))
    return found[module]


def _is_dropout(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.dropout._DropoutNd)


def trained_names(model: nn.Module) -> list[str]:
    """Names in the state dict that training changes: trainable parameters, and buffers (batch statistics) of the
    modules all of whose parameters train."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    found: dict[nn.Module, set[bool]] = {}
    _gather(model, found)
    for prefix, module in model.named_modules():
        if found[module] == {True}:
            trained |= {f'{prefix}.{name}' if prefix else name for name, _ in module.named_buffers()}
    return [name for name in model.state_dict() if name in trained]


def _count(parameters: Iterable[nn.Parameter]) -> tuple[int, int]:
    """Number of trainable values and of all values."""
    sizes = [(p.numel() if p.requires_grad else 0, p.numel()) for p in parameters]
    return sum(trained for trained, _ in sizes), sum(total for _, total in sizes)


#: Of a prompted network, wherever in a model it is.
_PARTS = ('net', 'prompter', 'mapping', 'map_norms')


def trainable_table(model: nn.Module) -> str:
    """A table of trained and all parameters for each part of ``model`` (its children, and those of the prompted
    network)."""
    parts: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        path = name.split('.')
        inside = next((i for i, name in enumerate(path) if name in _PARTS), 1 if path[0] == 'backbone' else 0)
        part = '.'.join(path[: inside + 1])
        parts.setdefault(part, []).append(parameter)
    rows = [(part, *_count(parameters)) for part, parameters in parts.items()]
    rows.append(('all', *_count(model.parameters())))
    width = max(len(row[0]) for row in rows)
    lines = [f'{"part":{width}}  {"trained":>13}  {"of":>13}        %']
    lines += [
        f'{part:{width}}  {trained:13,}  {total:13,}  {100 * trained / max(total, 1):7.3f}'
        for part, trained, total in rows
    ]
    return '\n'.join(lines)


def print_trainable_parameters(model: nn.Module) -> None:
    """Print how many parameters train, of how many, in one line as PEFT does.

    It prints ``trainable params: 1,229,800 || all params: 87,028,456 || trainable%: 1.4131``.

    Args:
        model: Any module. The prompter counts, and so does a frozen network.
    """
    trained, total = _count(model.parameters())
    print(f'trainable params: {trained:,} || all params: {total:,} || trainable%: {100 * trained / max(total, 1):.4f}')
