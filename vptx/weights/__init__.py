"""Load public checkpoints: convert tensor names and sizes to those of a timm model, and report what happened to every
tensor.

``load_weights`` is the one entry. ``read.py`` makes a file named tensors, ``hub.py`` finds the files that timm
publishes, ``layouts/`` knows the names that others give, ``report.py`` is the table, ``export.py`` the inverse.
Besides ``vptx.backbones`` this is the only package that imports timm: the converters of its models are used here.
"""

from collections.abc import Sequence
from pathlib import Path

from mmengine.logging import print_log
from torch import nn

from vptx.tensors import check_numbers
from vptx.trainable import matches

from .layouts import LAYOUTS, Converted, timm_names, to_timm
from .read import read_tensors, weight_file
from .report import Report

__all__ = ['Report', 'load_weights', 'read_tensors', 'weight_file']


def load_weights(model: nn.Module, source: str | Path, positions: str = 'bicubic', fresh: Sequence[str] = ()) -> Report:
    """Fill ``model`` from ``source``, and log what became of every tensor.

    Every tensor of the model must be in the file with its shape, and every tensor of the file that is about a part of
    the model must have a place in it. Only a classifier may be missing, superfluous or of another shape. A network of
    other channels than the file's three gets kernels as timm makes them: for one channel the sum of the three, else the
    three in turns, scaled by 3 / channels.

    Args:
        model: A model of timm. It is changed in place.
        source: A file, whose format and layout are recognised by its content, or ``'timm://NAME'``, ``'https://...'``,
            or ``'real://NAME'`` for what ``make real`` has fetched.
        positions: How positions are interpolated to the model's image size. ``'bicubic'`` is what timm does, and
            ``'bilinear'`` is the zoom of the VPT paper. Swin's relative position tables are always resized as timm
            does.
        fresh: Patterns over whole components of names, as in ``tune``. The parts that they name keep the values with
            which the model was built. MAE's fine-tuning and the public VPT code drop MAE's last norm and start a new
            one after the average: ``global_pool='avg'`` and ``fresh=['norm', 'fc_norm']``.

    Returns:
        What became of every tensor. It is logged too.

    Raises:
        FileNotFoundError: There is no such file, or the weights of a hub are neither cached nor can be downloaded.
        ValueError: The file is unreadable, carries code, or has none of the layouts. Or it is of another architecture,
            depth or width, or has values that are not finite. Or a name or an option is unknown.
    """
    if positions not in timm_names.POSITIONS:
        raise ValueError(f"positions='{positions}' is not one of {', '.join(timm_names.POSITIONS)}")
    source = str(source)
    if source.startswith(('timm://', 'https://')):
        from .hub import fetch  # not on `import vptx`: it imports timm

        path = fetch(source)
    else:
        path = weight_file(source)
    tensors = read_tensors(path)
    try:
        converted = to_timm(tensors, model, positions)
    except ValueError as error:
        raise ValueError(f'{source}: {error}') from error
    for name, adapted in timm_names.adapt_stems(converted.tensors, model).items():
        converted.resized[name] = tuple(converted.tensors[name].shape), tuple(adapted.shape)
        converted.tensors[name] = adapted
    report = _compare(model, converted, source, fresh)
    own, loaded = model.state_dict(), {name: converted.tensors[name] for name in report.loaded}
    check_numbers(loaded, own, source)
    model.load_state_dict({**own, **loaded})
    print_log(str(report), 'current')
    return report


def _compare(model: nn.Module, converted: Converted, source: str, fresh: Sequence[str]) -> Report:
    """What to load, what to drop and what to leave; an error where that is not as it must be."""
    own, found, kind = model.state_dict(), converted.tensors, type(model).__name__
    for pattern in fresh:
        if not any(matches(pattern, name) for name in [*own, *found]):
            raise ValueError(f"fresh: '{pattern}' matches no tensor of {kind} or of {source}")
    if not own.keys() & found.keys():
        raise ValueError(
            f'{source} is of none of the layouts that {kind} can be filled from. Expected: '
            f'{"; ".join(layout.NAME for layout in LAYOUTS)} ({timm_names.ALSO}). '
            f'Found: {_some(list(found) or converted.aside)}'
        )
    heads = timm_names.classifiers(model)
    # Of a model that classifies with head.fc, whatever a file has under head.
    head_roots = {head.partition('.')[0] for head in heads}

    def is_fresh(name: str) -> bool:
        return any(matches(pattern, name) for pattern in fresh)

    def may_stay(name: str) -> bool:
        """Besides what is fresh: a classifier, and the count of batches, which files of old ResNets do not have."""
        return any(name.startswith(f'{head}.') for head in heads) or name.endswith('.num_batches_tracked')

    report = Report(f'{source} ({converted.layout}) -> {kind}')
    lacking, misshapen = [], []
    for name, tensor in own.items():
        if is_fresh(name):
            report.as_built.append(name)
        elif name in found and found[name].shape == tensor.shape:
            report.loaded.append(name)
        elif may_stay(name):
            report.as_built.append(name)
        elif name in found:
            misshapen.append(f'{name} {tuple(found[name].shape)} instead of {tuple(tensor.shape)}')
        else:
            lacking.append(name)
    unused = [name for name in found if name not in report.loaded]
    report.dropped = [*converted.aside, *unused]
    report.resized = {name: shapes for name, shapes in converted.resized.items() if name in report.loaded}
    # What the model has a part for, it must have a place for: a deeper network, say, or scales of its layers. What it
    # has no part for, a decoder or a text tower, is another matter.
    roots = {name: name.partition('.')[0] for name in unused if name not in own and not is_fresh(name)}
    strange = [name for name, root in roots.items() if hasattr(model, root) and root not in head_roots]

    faults = {'it lacks': lacking, 'these have other shapes:': misshapen, 'the model has no place for': strange}
    problems = [f'{fault} {_some(names)}' for fault, names in faults.items() if names]
    if any(name.startswith('fc_norm.') for name in lacking):
        problems.append(
            "a model that averages has its norm after that, the file before: build it with global_pool='token' and "
            "read out the mean, or begin a new norm with fresh=['norm', 'fc_norm']"
        )
    if problems:
        raise ValueError(f'{source} does not fit this {kind}: {"; ".join(problems)}')
    return report


def _some(names: Sequence[str]) -> str:
    return ', '.join(names[:5]) + (f' and {len(names) - 5} more' if len(names) > 5 else '')
