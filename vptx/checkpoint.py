"""A run's checkpoints: which one to go on from, and what is checked and done before the tensors of one are loaded."""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from numbers import Number
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.logging import print_log
from mmengine.model.weight_init import PretrainedInit
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from vptx.attach import find_mapping, find_prompted_network
from vptx.files import safe_load
from vptx.fingerprint import other_weights
from vptx.kept import head_names
from vptx.prompt_file import (
    ClassNames,
    adopt_classes,
    check_fit,
    check_frozen,
    class_counts,
    names_in_file,
    parse_prompt,
)
from vptx.tensors import check_layout, check_numbers

__all__ = [
    'adopt',
    'check_classes',
    'check_resumable',
    'compare_classes',
    'complete',
    'frozen_sources',
    'initialise',
    'is_stock',
    'last_checkpoint',
]


def complete(
    model: nn.Module, checkpoint: Any, where: str | Path, named: Collection[str] = (), head: bool = True
) -> None:
    """Check a slim checkpoint against ``model`` and fill it up with the frozen tensors, in place.

    Args:
        model: prompted.
        checkpoint: as MMEngine loads it.
        where: its path, for errors.
        named: files and addresses that the config names. Where the run of the checkpoint had filled a stock backbone
            from one of them, so is this.
        head: whether the head is taken from it, too; see ``vptx.load_prompt``.

    Raises:
        ValueError: not a slim checkpoint, or one of another model; see ``vptx.prompt_file.check``. The model is
            left as it was.
    """
    facts = _facts(checkpoint)
    if not facts:
        raise ValueError(
            f'{where} was not written by a run with PromptTuningHook. Weights of the backbone are given to '
            'the network itself: backbone=dict(net=dict(weights=...)), or with a stock backbone as load_from'
        )
    tensors, facts = parse_prompt(checkpoint.get('state_dict'), facts, where)
    check_fit(model, tensors, facts, where, head)
    prompted, source = find_prompted_network(model), facts.get('frozen_from')
    assert prompted is not None
    if source and source in named and source != prompted.frozen_from and other_weights(model, facts, head):
        with _as_it_was(model):
            _fill(model, CheckpointLoader.load_checkpoint(source, map_location='cpu'), source)
            check_frozen(model, facts, where, head)
    else:
        check_frozen(model, facts, where, head)
    state = model.state_dict()
    if 'ema_state_dict' in checkpoint:
        whole = {f'module.{name}': value for name, value in state.items()}
        averages = checkpoint['ema_state_dict']
        _check_averages(averages, whole, f'{where}, averaged:')
        checkpoint['ema_state_dict'] = {**whole, **averages}
    left_out = set() if head else head_names(prompted, tensors)
    loaded = {
        stored: tensors[name] for stored, name in names_in_file(model).items() if name in tensors.keys() - left_out
    }
    checkpoint['state_dict'] = {**state, **loaded}
    adopt_classes(prompted, find_mapping(model), facts, where, head)


def _facts(checkpoint: Any) -> Any:
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    return meta.get('vptx') if isinstance(meta, dict) else None


def _check_averages(averages: Any, whole: dict[str, Tensor], where: str) -> None:
    """Those of EMAHook, next to which it counts its steps."""
    if not isinstance(averages, dict):
        raise ValueError(f'{where} a {type(averages).__name__} is no state of a model')
    like = {**whole, 'steps': torch.tensor(0)}
    strange = [name for name in averages if name not in like or getattr(averages[name], 'shape', 0) != like[name].shape]
    if strange:
        raise ValueError(f'{where} {strange[0]} is no tensor of this model')
    check_numbers(averages, like, where)


@contextmanager
def _as_it_was(model: nn.Module) -> Iterator[None]:
    """Leave the weights of ``model``, prompted, as they were if what is done to them ends in an error."""
    prompted, before = find_prompted_network(model), {name: value.clone() for name, value in model.state_dict().items()}
    source = prompted.frozen_from
    try:
        yield
    except Exception:
        model.load_state_dict(before)
        prompted.frozen_from = source
        raise


def frozen_sources(config: ConfigDict) -> set[str]:
    """Where a config says that frozen weights come from: ``frozen_from``, ``load_from``, or an ``init_cfg``.

    The tools keep ``load_from`` as ``frozen_from`` where they put a run's checkpoint in its place.
    """
    model = config.get('model') or {}
    starts = [part.get('init_cfg') for part in (model, model.get('backbone')) if isinstance(part, dict)]
    starts = [start for found in starts for start in (found if isinstance(found, list) else [found])]
    named = [start.get('checkpoint') for start in starts if isinstance(start, dict)]
    return {str(source) for source in (config.get('frozen_from'), config.get('load_from'), *named) if source}


def check_resumable(checkpoint: Any, where: str | Path) -> None:
    """Make sure that a checkpoint holds all that MMEngine resumes from.

    Raises:
        ValueError: begins with ``where``, and says what is missing or of another type.
    """
    if not isinstance(checkpoint, dict) or 'optimizer' not in checkpoint:
        raise ValueError(
            f'{where} holds no optimizer: a prompt file or a best_*.pth can be tested or trained on (load_from), but '
            'to go on with a run resume from a .pth that it wrote at the end of an epoch'
        )
    meta, hub = checkpoint.get('meta'), checkpoint.get('message_hub')
    meta, hub = (part if isinstance(part, dict) else {} for part in (meta, hub))
    schedulers = checkpoint.get('param_schedulers', [])
    expected = {
        'meta.epoch, a count': _is_count(meta.get('epoch')),
        'meta.iter, a count': _is_count(meta.get('iter')),
        'meta.seed, a count': meta.get('seed') is None or _is_count(meta['seed']),
        'message_hub, a dict of three dicts': all(
            isinstance(hub.get(part), dict) for part in ('log_scalars', 'runtime_info', 'resumed_keys')
        ),
        'message_hub, best scores that are numbers': _are_scores(hub.get('runtime_info')),
        'optimizer, a dict of state and param_groups': _is_optimizer(checkpoint['optimizer']),
        'param_schedulers, a list of dicts': isinstance(schedulers, (list, dict))
        and all(isinstance(state, (dict, list)) for state in schedulers),
        'optimizer, of finite numbers': not _has_nan(checkpoint['optimizer']),
    }
    lacking = [what for what, there in expected.items() if not there]
    if lacking:
        raise ValueError(f'{where} cannot be resumed from, it lacks: {"; ".join(lacking)}')


def _is_optimizer(state: Any) -> bool:
    groups = state.get('param_groups') if isinstance(state, dict) and isinstance(state.get('state'), dict) else None
    return isinstance(groups, list) and all(isinstance(group, dict) and 'params' in group for group in groups)


def _are_scores(info: Any) -> bool:
    named = info.items() if isinstance(info, dict) else ()
    return all(isinstance(v, (Number, Tensor)) for name, v in named if str(name).startswith('best_score'))


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _has_nan(state: Any) -> bool:
    if isinstance(state, Tensor):
        return state.is_floating_point() and bool(state.isnan().any())
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, (list, tuple)) else ()
    return any(map(_has_nan, parts))


def check_classes(model: nn.Module, classes: Sequence[str] | None, data: str) -> None:
    """Make sure that the classes of a data set are those of ``model``: as many, and of the same names in the same
    order. The first data set names those of a model that has no names yet, and those that a text head reads.

    Args:
        model: prompted.
        classes: names, in the order of their labels; None if the data set has none.
        data: the data set, for errors.

    Raises:
        ValueError: they are others.
    """
    if not classes:
        return
    mapping: Any = find_mapping(model)
    if mapping.awaits_classes:
        mapping.set_classes([*map(str, classes)])
    for part, count in class_counts(model).items():
        if len(classes) != count:
            raise ValueError(
                f'the data set {data} has {len(classes)} classes, the {part} num_classes={count}: '
                f'{_some([*map(str, classes)])}'
            )
    prompted = find_prompted_network(model)
    if prompted is None:
        return
    named = mapping.class_names
    if sorted(named) == sorted(_plain(classes)):  # others may be other words for the same
        kind = type(mapping).__name__
        compare_classes(ClassNames(named, kind), _plain(classes), f'the data set {data}')
    if prompted.classes and prompted.classes.names:
        compare_classes(prompted.classes, classes, f'the data set {data}')
    else:
        prompted.classes = ClassNames(tuple(map(str, classes)), f'the data set {data}')


def _plain(classes: Sequence[str]) -> list[str]:
    return [str(name).replace('_', ' ') for name in classes]


def compare_classes(learnt: ClassNames, classes: Sequence[str], data: str) -> None:
    """Refuse data whose classes are not those that were learnt.

    Raises:
        ValueError: says which names differ, or that their order does, and what to do.
    """
    stored, given = learnt.names, tuple(map(str, classes))
    if stored == given:
        return
    if set(stored) == set(given):
        fault = f'the same classes in another order: {_some(stored)}; {_some(given)}'
    else:
        lacking, strange = ([n for n in a if n not in b] for a, b in ((stored, given), (given, stored)))
        fault = f'other classes: the data have no {_some(lacking) or "more"}, but {_some(strange) or "no other"}'
    raise ValueError(
        f'{learnt.where} and {data} name {fault}. Labels would be taken for those of other classes: set classes=[...] '
        'of the data set to the names and the order of the first'
    )


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:8]) + (f' and {len(names) - 8} more' if len(names) > 8 else '')


def is_stock(model: nn.Module, checkpoint: Any) -> bool:
    """Whether ``checkpoint`` is not of vptx, and ``model`` had a library's backbone before it was prompted."""
    prompted = find_prompted_network(model)
    own_network = prompted is None or prompted.attach_state is None or prompted.attach_state.own_network
    return not own_network and not _facts(checkpoint)


def adopt(model: nn.Module, checkpoint: Any, where: str | Path) -> None:
    """Fill ``model``, prompted, from a checkpoint of the same model without prompts, such as a model zoo's, in place.

    The backbone has to be there, whole. Of the rest, what has another shape (a head for other classes) stays as built.

    Raises:
        ValueError: no such checkpoint, or one of another backbone.
    """
    if find_prompted_network(model) is None:
        raise ValueError(f'{where}: there is no prompted backbone to fill')
    with _as_it_was(model):
        _fill(model, checkpoint, where)


def initialise(model: nn.Module) -> None:
    """``init_weights`` of a model with a stock backbone, once the files are checked that ``init_cfg`` names.

    MMEngine leaves out what does not fit, with no file's name: here a warning names it.

    Raises:
        ValueError: begins with the file; it holds no tensors of the backbone, some of another shape, or no numbers.
    """
    backbone = getattr(model, 'backbone', None)
    for part, prefix in ((model, 'backbone'), (backbone, '')):
        starts = getattr(part, 'init_cfg', None)
        for start in starts if isinstance(starts, list) else [starts]:
            if isinstance(start, dict) and start.get('type') in ('Pretrained', PretrainedInit) and backbone is not None:
                _check_start(backbone, str(start['checkpoint']), start.get('prefix') or prefix)
    model.init_weights()


def _check_start(backbone: nn.Module, where: str, prefix: str) -> None:
    found = CheckpointLoader.load_checkpoint(where, map_location='cpu')
    state = found.get('state_dict', found) if isinstance(found, dict) else None
    if not isinstance(state, dict):
        raise ValueError(f'{where} is no checkpoint: it has no state_dict')
    check_layout(state, where)
    start = f'{prefix.removesuffix(".")}.' if prefix else ''
    named = {name.removeprefix('module.'): tensor for name, tensor in state.items()}
    named = {name.removeprefix(start): tensor for name, tensor in named.items() if name.startswith(start)}
    lacking, strange = _load(backbone, named, where)
    if len(lacking) == len(dict(backbone.named_parameters())):
        raise ValueError(f'{where} holds no tensors of this backbone under the prefix {prefix!r}')
    if lacking or strange:
        print_log(f'{where}: {_describe_faults(lacking, strange)}', 'current', logging.WARNING)


def _load(library: nn.Module, tensors: dict[str, Tensor], where: str | Path) -> tuple[list[str], list[str]]:
    """Load them into a backbone: the names of its parameters that are not among them, and of those without a place."""
    own_state = library.state_dict()
    check_numbers({name: t for name, t in tensors.items() if name in own_state}, own_state, where)
    try:
        # Looked at by the caller. The library itself resizes positions to another image size.
        lacking, strange = library.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise ValueError(f'{where} is of another backbone: {error}') from error
    own = dict(library.named_parameters())
    return [name for name in lacking if name in own], strange  # buffers are tables of indices, made with the model


def _describe_faults(lacking: Sequence[str], strange: Sequence[str]) -> str:
    faults = {'lacks': lacking, 'has, without a place for it,': strange}
    return '; '.join(f'it {fault} {", ".join(names[:5])}' for fault, names in faults.items() if names)


def _fill(model: nn.Module, checkpoint: Any, where: str | Path) -> None:
    prompted, state = (
        find_prompted_network(model),
        checkpoint.get('state_dict') if isinstance(checkpoint, dict) else None,
    )
    if not isinstance(state, dict):
        raise ValueError(f'{where} is no checkpoint: it has no state_dict')
    check_layout(state, where)
    found = {n.removeprefix('module.'): t for n, t in state.items()}
    part = next((name for name, module in model.named_modules() if module is prompted), 'backbone')
    backbone = {n.removeprefix(f'{part}.'): t for n, t in found.items() if n.startswith(f'{part}.')}
    if not backbone:
        raise ValueError(f'{where} holds no {part}: its names do not begin with {part}., as those of a stock model')
    lacking, strange = _load(prompted.net.model, backbone, where)
    if lacking or strange:
        raise ValueError(f'{where} is of another backbone: {_describe_faults(lacking, strange)}')
    state = model.state_dict()
    rest = {n: t for n, t in found.items() if not n.startswith(f'{part}.')}
    fits = {n: t for n, t in rest.items() if n in state and state[n].shape == t.shape}
    check_numbers(fits, state, where)
    model.load_state_dict(fits, strict=False)  # the backbone is in place, prompts are new
    left = ', '.join(name for name in rest if name not in fits)
    print_log(f'{where}: filled {part}{"".join(f", {name}" for name in fits)}; left out {left or "nothing"}', 'current')
    checkpoint['state_dict'] = model.state_dict()
    prompted.frozen_from = str(where)


def last_checkpoint(work_dir: str | Path) -> Path | None:
    """What a run in ``work_dir`` goes on from, if anything: the checkpoint that ``last_checkpoint`` names, or the one
    before it if that is damaged, even where the folder was copied or the pointer was lost with the process.

    Raises:
        ValueError: there are checkpoints, and none of them can be read.
    """
    folder = Path(work_dir)
    # epoch_3.pth or iter_300.pth; the best ones hold no optimizer.
    own = [path for path in folder.glob('*_*.pth') if not path.name.startswith('best_') and path.is_file()]
    steps = {int(p.stem.rpartition('_')[2]): p for p in own if p.stem.rpartition('_')[2].isdecimal()}
    candidates = [steps[step] for step in sorted(steps, reverse=True)]
    pointer = folder / 'last_checkpoint'
    named = Path(pointer.read_text(errors='replace').strip()) if pointer.is_file() else Path()
    local = next((path for path in folder.glob('*.pth') if path.name == named.name), None)
    if local is not None:
        candidates = [local, *(path for path in candidates if path != local)]
    elif not candidates:
        with suppress(OSError, ValueError):  # a damaged pointer may be no path at all
            candidates = [named] if named.is_file() else []  # CheckpointHook has an out_dir of its own
    if named.name and not candidates:
        print_log(f'{pointer} names {named}, and no such file is there: the run begins', 'current', logging.WARNING)
    damaged: list[str] = []
    for path in candidates:
        try:
            safe_load(path)
        except ValueError as error:
            damaged.append(str(error))
            continue
        if damaged:
            print_log(f'{"; ".join(damaged)}. The run goes on from {path}', 'current', logging.WARNING)
        return path
    if damaged:
        raise ValueError(
            f'no checkpoint in {folder} can be read, so there is none to resume from: {"; ".join(damaged)}'
        )
    return None
