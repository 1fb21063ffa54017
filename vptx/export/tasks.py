"""One graph for many tasks: what was learnt goes into it as inputs.

``export_graph`` writes the frozen network once. Next to ``image`` the graph takes, of each layer with prompts, their
keys and values, ``key_0`` and ``value_0`` (B, heads, P, d), and every other tensor that was trained, such as the head's
weight. A text head comes as the vectors of its classes, ``classes_weight`` (C, d) and ``classes_bias`` (C).
``export_task`` writes those of one model, some kilobytes. Prompts of several tasks may stand in one batch; a head is of
one task.
"""

import json
from collections.abc import Sequence
from contextvars import ContextVar
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save as to_bytes
from torch import Tensor, nn
from torch.export import Dim
from torch.func import functional_call

from vptx.attach import prompted_network
from vptx.export.deployed import Deployed, check_repeatable, evaluated
from vptx.export.files import as_size, check_ending, facts_of, save, trace
from vptx.files import write_whole
from vptx.geometry import At, KeyValue
from vptx.kept import place_of
from vptx.mappings import LabelMapping, TextHead
from vptx.prompt_file import names_in_file
from vptx.prompters import Prompter

__all__ = ['export_graph', 'export_task', 'task_tensors']

#: Keys and values of each layer, while a graph is made. No attribute: a module must not change in the meantime.
_given: ContextVar[dict[int, KeyValue]] = ContextVar('given')


class _GivenMemory(Prompter):
    """Keys and values that are inputs of a graph."""

    doors = frozenset({'memory'})

    def memory(self, tokens: Tensor, at: At) -> KeyValue | None:
        return None if at.layer is None else _given.get().get(at.layer)


class _GivenClasses(LabelMapping):
    """A text head as the vectors of its classes, which are inputs of a graph: no tower is in it."""

    def __init__(self, head: TextHead) -> None:
        super().__init__()
        self.classes = head.linear()
        self.num_classes = self.classes.out_features

    def forward(self, logits: Tensor) -> Tensor:
        return self.classes(F.normalize(logits, dim=-1))


def _mapping(network: Any) -> LabelMapping:
    """Without what texts are read by.

    Raises:
        ValueError: a text head that is no linear layer: one with an adapter, or whose classes depend on the image.
    """
    return _GivenClasses(network.mapping) if isinstance(network.mapping, TextHead) else network.mapping


class _Graph(nn.Module):
    """Images and what was learnt -> logits.

    Args:
        deployed: with a network without prompts of its own.
        names: inputs of the graph -> names of the trained tensors in ``deployed``.
        layers: those with prompts.
    """

    def __init__(self, deployed: Deployed, names: dict[str, str], layers: Sequence[int]) -> None:
        super().__init__()
        self.deployed, self.names, self.layers = deployed, names, tuple(layers)

    def forward(self, image: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        token = _given.set({i: KeyValue(tensors[f'key_{i}'], tensors[f'value_{i}']) for i in self.layers})
        trained = {name: tensors[given] for given, name in self.names.items()}
        try:
            return functional_call(self.deployed, trained, (image,))
        finally:
            _given.reset(token)


def _input_names(model: nn.Module) -> dict[str, str]:
    """Of all that was trained but the prompts: the name of the input -> that in the model."""
    names = {named: name for name, named in names_in_file(model).items() if not named.startswith('prompter.')}
    if isinstance(prompted_network(model).mapping, TextHead):  # texts come as vectors of classes
        place = place_of(model)
        names = {named: name for named, name in names.items() if not named.startswith('mapping.')}
        names |= {f'classes.{part}': f'{place}mapping.classes.{part}' for part in ('weight', 'bias')}
    return {named.replace('.', '_'): name for named, name in names.items()}


def task_tensors(model: nn.Module) -> dict[str, Tensor]:
    """What was learnt, as the graph of ``export_graph`` takes it; keys and values (heads, P, d), of one image.

    Raises:
        ValueError: no prompted model; prompts that are not keys and values alone, or differ from image to image; a text
            head with an adapter, or whose classes depend on the image.
    """
    network = prompted_network(model)
    uses = network.prompter.uses
    if uses != {'memory'}:
        raise ValueError(
            f'{type(network.prompter).__name__} acts through {", ".join(sorted(uses)) or "no door"}: only '
            'prompts that are keys and values alone, through memory, can be inputs of a graph'
        )
    was_folded = bool(network.folded)
    with evaluated(model):
        try:
            network.fold()
            found = {
                f'{part}_{i}': getattr(network, f'{part}_{i}')
                for i in sorted(network.folded)
                for part in KeyValue._fields[:2]
            }
        finally:
            if not was_folded:
                network.unfold()
    state = model.state_dict()
    place = place_of(model)
    state |= {f'{place}mapping.{name}': tensor for name, tensor in _mapping(network).state_dict().items()}
    return {name: tensor.detach().clone() for name, tensor in found.items()} | {
        given: state[name].detach().clone() for given, name in _input_names(model).items()
    }


def export_task(model: nn.Module, path: str | Path, classes: Sequence[str] = ()) -> dict[str, Any]:
    """Write what a model has learnt to a ``.safetensors`` file, as inputs of the graph that ``export_graph`` writes.

    Args:
        model: A model that ``vptx.attach`` or ``vptx.init_model`` returned, whose prompts can be folded.
        path: The file to write. It is as small as a prompt file.
        classes: The names of the classes, if the model does not have them.

    Returns:
        The facts, which the file holds as JSON under the key ``vptx``. Network and fingerprint are those of its graph.

    Raises:
        ValueError: The prompts of the model are not keys and values alone, or the path has another ending.
    """
    if Path(path).suffix != '.safetensors':
        raise ValueError(f'{path}: a task is written to a .safetensors file')
    tensors, network = task_tensors(model), prompted_network(model)
    facts = facts_of(Deployed(model, network.net.geometry.image), classes)
    write_whole(path, to_bytes({n: t.cpu().contiguous() for n, t in tensors.items()}, {'vptx': json.dumps(facts)}))
    return facts


def export_graph(
    model: nn.Module, path: str | Path, size: int | Sequence[int] | None = None, uint8: bool = False
) -> dict[str, Any]:
    """Write the frozen network of a model as one graph for many tasks.

    Its inputs are ``image``, as for ``vptx.export.export_model``, the keys and values of the prompts of each layer,
    ``key_0``, ``value_0``, ... (B, heads, P, d) with any P, and the other trained tensors. These have their names in a
    prompt file, with ``_`` for ``.``. A head may have any number of classes. A program of torch.export takes ``image``
    and ``tensors``, a dict of the others.

    Args:
        model: A model whose prompts can be folded. The other tasks must have prompts in the same layers, and must have
            trained the same other parameters.
        path: The file to write, as for ``vptx.export.export_model``.
        size: The size of an image in pixels, (H, W) or one number. By default it is that of the network.
        uint8: If true, pixels are whole numbers from 0 to 255. Otherwise they are numbers in [0, 1].

    Returns:
        The facts. ``inputs`` has the names of all inputs except the image.

    Raises:
        ValueError: The prompts of the model are not keys and values alone, or ``vptx.export.export_model`` would raise
            one.
    """
    path = check_ending(path)
    tensors, names, network = task_tensors(model), _input_names(model), prompted_network(model)
    layers = sorted(int(name.removeprefix('key_')) for name in tensors if name.startswith('key_'))
    size = as_size(network.net.geometry.image if size is None else size)
    copy = deepcopy(model)
    bare = prompted_network(copy)
    bare.unfold()
    bare.set_prompter(_GivenMemory(), bare.readout, _mapping(bare))
    with evaluated(model), torch.no_grad():
        deployed = Deployed(model, size, uint8)
        check_repeatable(deployed)
        facts = facts_of(deployed, ()) | dict(classes=[], inputs=sorted(tensors))
        graph = _Graph(Deployed(copy.eval(), size, uint8), {given: f'model.{n}' for given, n in names.items()}, layers)

        def inputs(number: int) -> dict[str, Any]:
            memory = {name for name in tensors if name not in names}
            tiled = {n: t.expand(number, *t.shape) if n in memory else t for n, t in tensors.items()}
            return dict(image=deployed.example(number), tensors={n: tiled[n].contiguous() for n in sorted(tiled)})

        shapes = {n: {0: Dim.AUTO} if n in names else {0: Dim.AUTO, 2: Dim.AUTO} for n in sorted(tensors)}
        program = trace(graph, inputs(13), dict(image={0: Dim.AUTO}, tensors=shapes))
        wanted = [(inputs(number), deployed(deployed.example(number))) for number in (1, 2, 3)]
        facts['difference'] = save(program, path, facts, wanted)
    return facts
