"""Compatibility of every registered prompter with an example of every registered net, computed from their doors."""

import inspect
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from mmengine.registry import DefaultScope

from vptx.backbones import Net
from vptx.backbones.timm_models import wrap_all
from vptx.geometry import DOORS
from vptx.prompted import PromptedNetwork
from vptx.prompters import Prompter
from vptx.readout import OWN
from vptx.registry import MODELS, NETS, PROMPTERS

__all__ = ['example', 'markdown', 'meet', 'nets', 'prompters', 'timm_markdown']

NO_DOOR = '-'


def prompters() -> dict[str, type[Prompter]]:
    """All that are registered, by name."""
    PROMPTERS.import_from_location()
    return dict(sorted(PROMPTERS.module_dict.items()))


def nets() -> dict[str, type[Net]]:
    """All that are registered, by name."""
    NETS.import_from_location()
    return dict(sorted(NETS.module_dict.items()))


def example(kind: type[Net]) -> Net:
    """One of the family, without numbers in it.

    Raises:
        ImportError: its library is not installed.
    """
    arguments = dict(kind.example)
    if isinstance(arguments['model'], dict) and 'type' in arguments['model']:  # of OpenMMLab
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            arguments['model'] = MODELS.build(arguments['model'])
    net = kind(**arguments).to('meta')
    if not net.geometry.mean:  # the model around a backbone of OpenMMLab would know
        net.geometry = replace(net.geometry, mean=(0.5,) * 3, std=(0.5,) * 3)
    return net


def meet(kind: type[Prompter], net: Net) -> tuple[frozenset[str], str]:
    """The doors by which a prompter, as it is by default, gets into a network; or none, and what the network says."""
    with torch.device('meta'):
        prompted = PromptedNetwork(net, OWN)
        prompter = kind()
        if kind.reads_language and kind.doors <= net.geometry.doors:  # with a text side that has prompts in all layers
            prompter.bind(replace(net.geometry, language=((2, 8),) * net.geometry.depth))
            return prompter.uses, ''
        try:
            prompted.set_prompter(prompter)
        except ValueError as error:
            return frozenset(), str(error)
    prompted.set_prompter(Prompter())  # take the hooks off again
    return prompter.uses, ''


def markdown() -> str:
    """Three tables: prompters, networks, and their compatibility."""
    examples: dict[str, Net] = {}
    missing = []
    for name, kind in nets().items():
        try:
            examples[name] = example(kind)
        except ImportError as error:
            missing.append(f'{name} is left out: {error}')
    reasons: list[str] = []
    rows = []
    for name, prompter in prompters().items():
        cells = []
        for net in examples.values():
            uses, refusal = meet(prompter, net)
            if not uses and prompter.doors <= net.geometry.doors:
                reasons += [refusal] * (refusal not in reasons)
                cells.append(f'no ({reasons.index(refusal) + 1})')
            else:
                cells.append(_listed(uses) or NO_DOOR)
        rows.append([f'`{name}`', *cells])
    parts = [
        _table(
            ['prompter', 'what it is', 'doors that it needs'],
            ([f'`{name}`', _summary(kind), _listed(kind.doors)] for name, kind in prompters().items()),
        ),
        _table(
            ['net', 'what it is', 'its doors'],
            ([f'`{name}`', _summary(type(net)), _listed(net.geometry.doors)] for name, net in examples.items()),
        ),
        _table(['', *(f'`{name}`' for name in examples)], rows),
        f'`{NO_DOOR}`: the network lacks a door that the prompter needs.',
        *(f'({number}) {reason}.' for number, reason in enumerate(reasons, 1)),
        *missing,
    ]
    return '\n\n'.join(parts)


def timm_markdown(names: Iterable[str] | None = None) -> str:
    """How many models of timm have which doors, by their class; and those that no net wraps, with the reason.

    Args:
        names: of models; None for all.
    """
    doors: dict[tuple[str, str], Counter] = defaultdict(Counter)
    refused = []
    for name, model, net in wrap_all(names):
        if isinstance(net, Net):
            doors[type(model).__name__, type(net).__name__].update(['', *net.geometry.doors])
        else:
            refused.append(f'`{name}`: {net.partition(". Available wrappers")[0]}.')
    total: Counter = sum(doors.values(), Counter())
    ordered = sorted(doors.items(), key=lambda item: (item[0][1], -item[1][''], item[0]))
    of_images = [door for door in DOORS if door != 'words']  # which is that of text towers
    rows = [
        [f'`{kind}`', f'`{net}`', *(str(found[door]) for door in ('', *of_images))] for (kind, net), found in ordered
    ]
    sums = ['all', '', *(str(total[door]) for door in ('', *of_images))]
    heading = f'{total[""]} of {total[""] + len(refused)} models of timm have a net.'
    table = _table(['class of timm', 'net', 'models', *of_images], [*rows, sums])
    return '\n\n'.join([heading, table, *refused])


def _summary(kind: type) -> str:
    """The first sentence of its docstring, without the full stop."""
    paragraph = (inspect.getdoc(kind) or '').partition('\n\n')[0]
    return ' '.join(paragraph.split()).partition('. ')[0].replace('``', '`').rstrip('.')


def _listed(doors: Iterable[str]) -> str:
    found = set(doors)
    return ', '.join(door for door in DOORS if door in found)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
