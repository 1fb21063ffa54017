"""The prompt file: what training changed, and all that is needed to know what it belongs to.

A ``.safetensors`` file of the trained tensors, with one metadata entry ``vptx``: JSON with the network's name, the
fingerprints of its frozen weights, the prompter's settings, the names of the prompts, the class names and the config. A
run's own ``.pth`` carries the same facts in ``meta['vptx']`` next to the optimizer, and its tensors by MMEngine's
names.

Format 2. Files of format 1 name tensors as the model did that they were saved from, have one fingerprint of all that is
frozen, and say nothing of the prompter's settings.
"""

import json
import logging
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log
from safetensors.torch import save
from torch import Tensor, nn

from vptx.attach import find_mapping, find_prompted_network, prompted_network
from vptx.files import read_safetensors, safe_load, write_whole
from vptx.fingerprint import fingerprints, other_weights
from vptx.kept import file_names, find_place, head_names, kept_names, place_of
from vptx.mappings.base import LabelMapping
from vptx.prompted import PromptedNetwork
from vptx.readout import OWN, read_maps
from vptx.tensors import check_layout, check_numbers

__all__ = [
    'ClassNames',
    'adopt_classes',
    'check',
    'check_content',
    'check_fit',
    'check_frozen',
    'class_counts',
    'describe',
    'fill',
    'load_prompt',
    'names_in_file',
    'parse_prompt',
    'pixels_of',
    'read_prompt',
    'readout_name',
    'save_prompt',
    'write_prompt',
]

FORMAT = 2
#: Facts besides the format, and their types: those that must be there, by format, and those that may.
NEEDED = {
    1: dict(network='text', fingerprint='text', prompter='text', prompts='names'),
    2: dict(
        network='text', fingerprint='hashes', image='sizes', prompter='text', prompter_settings='dict', prompts='names'
    ),
}
MORE = dict(
    classes='names', config='text', frozen_from='text', at='text', mapping='dict', readout='text', pixels='dict'
)


class ClassNames(NamedTuple):
    """The names of the classes of a model, and where they come from.

    Attributes:
        names: in the order of the outputs.
        where: the file or the data set that gave them.
    """

    names: tuple[str, ...]
    where: str


def describe(model: nn.Module, config: str = '', classes: Sequence[str] = ()) -> dict[str, Any]:
    """The facts that tell what a set of trained tensors belongs to; plain JSON types.

    Raises:
        ValueError: the model is not prompted, or has another number of classes.
    """
    prompted, mapping = prompted_network(model), find_mapping(model)
    _check_count(model, classes, 'this model')
    return dict(
        format=FORMAT,
        network=prompted.net.geometry.name,
        image=list(prompted.net.geometry.image),
        fingerprint=fingerprints(model),
        prompter=type(prompted.prompter).__name__,
        prompter_settings=prompted.prompter.settings,
        prompts=[f'prompter.{name}' for name, _ in prompted.prompter.named_parameters()],
        readout=readout_name(prompted),
        classes=[str(name) for name in classes or mapping.class_names],
        config=config,
        frozen_from=prompted.frozen_from,
        mapping=dict(type=type(mapping).__name__, **mapping.facts()),
        pixels=pixels_of(model),
    )


def pixels_of(model: nn.Module) -> dict[str, list[float]]:
    """Mean and standard deviation of the pixels of a prompted model, in [0, 1], of each channel: those of the
    ``data_preprocessor`` around the network, or else the network's own; empty where neither is known."""
    preprocessor, facts = getattr(model, 'data_preprocessor', None), prompted_network(model).net.geometry
    found = [getattr(preprocessor, name, None) for name in ('mean', 'std')]
    if all(isinstance(values, Tensor) for values in found):
        return {n: [round(v, 6) for v in (t.flatten() / 255).tolist()] for n, t in zip(('mean', 'std'), found)}
    return dict(mean=[round(v, 6) for v in facts.mean], std=[round(v, 6) for v in facts.std]) if facts.mean else {}


def readout_name(prompted: PromptedNetwork) -> str:
    """What is made of the last tokens. The network's own pooling goes by its name."""
    net, readout = prompted.net, prompted.readout
    maps = read_maps(readout, net.geometry.depth, net.stages, net.map_norm)
    if maps:
        return f'dict(maps={list(maps.layers)}, norm={maps.norm!r})'
    own = not prompted.mapping.num_classes and readout == OWN
    return repr(net.readout if own else readout)


def names_in_file(model: nn.Module) -> dict[str, str]:
    """Names of what is kept of ``model``, in its state dict -> in a prompt file."""
    return file_names(kept_names(model), place_of(model))


def class_counts(model: nn.Module) -> dict[str, int]:
    """How many classes the parts of ``model`` have that give its output, by name; those of unknown number are left
    out."""
    counts: list[tuple[str, Any]] = []
    for name in ('head', 'decode_head', 'auxiliary_head'):
        part = getattr(model, name, None)
        counts += [(name, getattr(p, 'num_classes', 0)) for p in (part if isinstance(part, nn.ModuleList) else [part])]
    prompted = find_prompted_network(model)
    if prompted is not None:
        counts.append(('mapping', prompted.mapping.num_classes))
        if prompted is model and prompted.readout == OWN and not prompted.mapping.num_classes:
            counts.append(('classifier', prompted.net.geometry.classes))
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
        raise ValueError(
            f'{where} is a prompt file of format {known}, written by a later version of vptx; this one reads formats '
            f'up to {FORMAT}: update vptx'
        )
    if type(known) is not int or known not in NEEDED or not isinstance(tensors, dict):
        raise ValueError(
            f'{where} is no prompt file of vptx (formats 1 to {FORMAT}): it does not say what it belongs to'
        )
    for name, kind in {**NEEDED[known], **MORE}.items():
        if (name in facts or name not in MORE) and not _is(facts.get(name), kind):
            raise ValueError(
                f'{where} is no prompt file of vptx: {name} is {reprlib.repr(facts.get(name))}, not {_KINDS[kind]}'
            )
    check_layout(tensors, where)


_KINDS = dict(
    text='a text', names='a list of names', sizes='two numbers of pixels', dict='a dict', hashes='a dict of hashes'
)


def _is(value: Any, kind: str) -> bool:
    """Whether ``value`` is one of ``_KINDS``."""
    if kind == 'text':
        return isinstance(value, str)
    if kind in ('names', 'sizes'):
        part = str if kind == 'names' else int
        return isinstance(value, list) and all(type(found) is part for found in value)
    hashes = kind == 'hashes'
    return isinstance(value, dict) and all(
        isinstance(name, str)
        and (not hashes or (isinstance(part, dict) and all(_is(h, 'text') for h in part.values())))
        for name, part in value.items()
    )


def parse_prompt(tensors: Any, facts: Any, where: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file, by the names of format 2, and its facts; see ``vptx.kept``.

    Of format 1, ``at`` in the facts is what the names of the prompted network began with.

    Raises:
        ValueError: of ``check_content``.
    """
    check_content(tensors, facts, where)
    facts = dict(facts)
    at = facts.pop('at', None)
    if facts['format'] == 1:
        place = find_place([*facts['prompts'], *tensors])
        facts = dict(facts, prompts=[name.removeprefix(place) for name in facts['prompts']], at=at or place)
        at = place
    if at is None:
        return tensors, facts
    names = file_names(list(tensors), at)
    return {names[name]: tensor for name, tensor in tensors.items()}, facts


def check_fit(model: nn.Module, tensors: Any, facts: Any, where: str | Path, head: bool = True) -> None:
    """Make sure that ``tensors`` are trained tensors of a model such as this, its frozen weights aside.

    Args:
        model: prompted.
        tensors: by their names in a prompt file.
        facts: of the file.
        where: its path, for errors.
        head: whether the head counts; see ``vptx.kept.head_names``.

    Raises:
        ValueError: another network, another prompter or other settings of it, another readout or kind of mapping,
            another number of classes or shape, a trained tensor that is missing, one too many, or values that are not
            finite.
    """
    prompted = prompted_network(model)
    for what, actual in dict(network=prompted.net.geometry.name, prompter=type(prompted.prompter).__name__).items():
        if facts[what] != actual:
            raise ValueError(f'{where} belongs to the {what} {facts[what]}, this model has {actual}')
    if head:
        mapped = {
            name.removeprefix('mapping.'): tensor for name, tensor in tensors.items() if name.startswith('mapping.')
        }
        prompted.mapping.prepare(mapped)
    state = model.state_dict()
    own = {name: state[actual] for actual, name in names_in_file(model).items()}
    heads = head_names(prompted, [*own, *tensors])
    left_out = set() if head else heads
    faults = {name: f'lacks {name}' for name in own if name not in tensors}
    faults |= {name: f'has {name}, which does not train here' for name in tensors if name not in own}
    faults |= {
        name: f'has {name} of shape {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}'
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    }
    reported = [fault for name, fault in faults.items() if name not in left_out]
    if reported:
        more = f'; and {len(reported) - 5} more' if len(reported) > 5 else ''
        if faults.keys() <= heads:
            more += '. Only the head differs: to load the rest, vptx.load_prompt(..., head=False), or load_head=False '
            more += 'of PromptTuningHook'
        raise ValueError(f'{where} does not fit this model: it {"; ".join(reported[:5])}{more}')
    check_numbers({name: tensor for name, tensor in tensors.items() if name not in left_out}, own, where)
    _check_settings(prompted, facts, where)
    mapping = find_mapping(model)
    if (head or mapping is prompted.mapping) and mapping.facts() and 'mapping' in facts:
        mapping.check_facts(facts['mapping'], where)
    if head and not mapping.is_open:
        if not mapping.adopts_classes:
            _check_count(model, facts.get('classes', ()), where)
        _check_use(prompted, mapping, facts, where)


def _check_use(prompted: PromptedNetwork, mapping: LabelMapping, facts: Mapping[str, Any], where: str | Path) -> None:
    """That readout and mapping are those of training, as far as the file says."""
    recorded, kind = facts.get('mapping', {}).get('type'), type(mapping).__name__
    for what, there, here in (
        ('readout', facts.get('readout'), readout_name(prompted)),
        ('mapping', recorded, kind),
    ):
        if there not in (None, here):
            raise ValueError(
                f'{where} was trained with {what}={there}, this model has {what}={here}: attach it with that of '
                'the file. To load the prompts alone: vptx.load_prompt(..., head=False), or load_head=False of '
                'PromptTuningHook'
            )


def _check_settings(prompted: PromptedNetwork, facts: Mapping[str, Any], where: str | Path) -> None:
    """That the prompter means the same by what it learnt; a file of format 1 does not tell."""
    actual, name = prompted.prompter.settings, type(prompted.prompter).__name__
    recorded = facts.get('prompter_settings')
    if recorded is None:
        # Numbers show in the shapes.
        words = [f'{key}={value!r}' for key, value in actual.items() if isinstance(value, str) and 'type' not in key]
        if words:
            print_log(
                f'{where} is of format 1 and does not say with what settings {name} was trained; here it has '
                f'{", ".join(words)}: make sure that they are the same',
                'current',
                logging.WARNING,
            )
        return
    others = [key for key, value in actual.items() if key in recorded and recorded[key] != value]
    if others:
        raise ValueError(
            f'{where} was trained with {", ".join(f"{key}={recorded[key]!r}" for key in others)} of {name}, this model '
            f'has {", ".join(f"{key}={actual[key]!r}" for key in others)}, by which the same numbers mean something '
            'else: attach it with the settings of the file'
        )


def check_frozen(model: nn.Module, facts: Mapping[str, Any], where: str | Path, head: bool = True) -> None:
    """Make sure that ``model`` has the frozen weights that a file was trained on.

    Raises:
        ValueError: it has others.
    """
    other = other_weights(model, facts, head)
    if not other:
        return
    source = facts.get('frozen_from')
    advice = (
        f'load the weights it was trained on. It says that they are in {source!r}; nothing is read or downloaded '
        f'because a file says so: if you trust it, set frozen_from={source!r} in the config'
        if source
        else 'load the weights it was trained on'
    )
    raise ValueError(f'{where} was trained on other frozen weights of {_frozen(model)} ({other}): {advice}')


def check(model: nn.Module, tensors: Any, facts: Any, where: str | Path, head: bool = True) -> None:
    """Make sure that ``tensors`` are the trained tensors of this very ``model``.

    Raises:
        ValueError: of ``check_fit`` and ``check_frozen``; begins with ``where``.
    """
    check_fit(model, tensors, facts, where, head)
    check_frozen(model, facts, where, head)


def _frozen(model: nn.Module) -> str:
    """What has weights that no prompt file holds."""
    prompted = find_prompted_network(model)
    assert prompted is not None
    name, frozen = prompted.net.geometry.name, dict(prompted.prompter.frozen_tensors())
    return f'{name}, or of the frozen part of {type(prompted.prompter).__name__},' if frozen else name


def write_prompt(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write a prompt file, atomically."""
    path = Path(path)
    if path.suffix != '.safetensors':
        raise ValueError(f'a prompt file ends in .safetensors, not {path.name}')
    content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {'vptx': json.dumps(facts)})
    write_whole(path, content)


def read_prompt(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Trained tensors and facts of a prompt file or of a run's ``.pth``; no code that a file carries is run.

    The tensors have the names of format 2, whatever the format and the kind of file.

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
    return parse_prompt(tensors, facts, path)


def save_prompt(
    model: nn.Module, path: str | Path, config: str = '', classes: Sequence[str] = (), plain: bool = False
) -> None:
    """Write what trains in ``model`` to a prompt file, with the facts that ``load_prompt`` checks.

    The file is a safetensors file of tensors and text. It is written completely or not at all.

    Args:
        model: A model that ``vptx.attach`` returned.
        path: The file to write, ``.safetensors``.
        config: The text of the run's config, which the file then holds.
        classes: The names of the head's classes, in the order of its logits.
        plain: If true, the prompts are written as those of a ``DeepPrompter`` without options that computes the same. A
            model with such a ``DeepPrompter`` loads the file. ``config``, if given, must be that of such a model.

    Raises:
        ValueError: ``plain`` is true, and the prompter has no such form.
    """
    prompted = prompted_network(model)
    _check_unmerged(prompted)
    learnt, found = prompted.prompter, prompted.prompter.plain() if plain else prompted.prompter
    if found is None:
        raise ValueError(
            f'plain=True writes the DeepPrompter that computes the same, and {type(learnt).__name__} has no such form: '
            'leave plain out'
        )
    prompted.prompter = found
    try:
        facts, state = describe(model, config, classes), model.state_dict()
        write_prompt(path, {name: state[actual] for actual, name in names_in_file(model).items()}, facts)
    finally:
        prompted.prompter = learnt


def _check_unmerged(prompted: PromptedNetwork) -> None:
    if prompted.merged is not None:
        raise ValueError(
            f'{type(prompted.merged.prompter).__name__} is merged into the frozen weights, and a prompt file belongs '
            'to the weights that they were: vptx.unmerge(model) first'
        )


def adopt_classes(
    prompted: PromptedNetwork, mapping: LabelMapping, facts: Mapping[str, Any], where: str | Path, head: bool = True
) -> None:
    """Take over the class names of a file whose tensors have been loaded: where what it has learnt is of these classes,
    or where a text head has no names yet."""
    if head and mapping.adopts_classes:
        mapping.adopt(facts.get('mapping', {}))
    if head and not mapping.is_open:
        prompted.classes = ClassNames(tuple(facts.get('classes', ())), str(where))


def load_prompt(model: nn.Module, path: str | Path, head: bool = True) -> dict[str, Any]:
    """Load a prompt file into ``model``, which has the prompter that it had when the file was written.

    What is around the prompted network does not matter. A file that was saved from a compiled or parallel model, or
    from inside a LightningModule, loads into the bare model, and the other way round.

    Args:
        model: A model that ``vptx.attach`` returned. Values are cast to the type of its parameters.
        path: The file, or the address of one on the Hugging Face Hub, such as ``'hf://user/name'``. ``vptx.hub``
            explains addresses.
        head: Whether the head is loaded too. With False, prompts can go to a model with another number of classes: what
            is outside the prompted network, the network's own classifier, a label mapping and the class names stay as
            they are.

    Returns:
        The facts in the file: ``network``, ``classes``, ``config`` and others. For a file on the hub, ``address`` has
        its address with the commit.

    Raises:
        FileNotFoundError: There is no such file, or the hub cannot be reached.
        ValueError: The file is no prompt file, or belongs to another model. The model is then as it was.
    """
    from vptx.hub import fetch, is_address  # not on `import vptx`: huggingface_hub takes a fifth of a second

    where = str(path)
    if is_address(path):
        path, where = fetch(where)
    tensors, facts = read_prompt(path)
    _check_unmerged(prompted_network(model))
    check(model, tensors, facts, where, head)
    fill(model, tensors, facts, where, head)
    return facts if where == str(path) else facts | dict(address=where)


def fill(
    model: nn.Module, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], where: str | Path, head: bool = True
) -> None:
    """Give ``model`` the trained tensors of a file, which ``check`` has found to be its own."""
    prompted = prompted_network(model)
    left_out = set() if head else head_names(prompted, tensors)
    loaded = {
        actual: tensors[name] for actual, name in names_in_file(model).items() if name in tensors.keys() - left_out
    }
    model.load_state_dict(loaded, strict=False)  # looked at: check() found every trained name and no other
    adopt_classes(prompted, find_mapping(model), facts, where, head)
