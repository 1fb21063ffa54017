"""A run's checkpoints: which one to go on from, and what is done with one before its tensors are loaded."""

from pathlib import Path

from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import nn

from vptx.attach import find_hall
from vptx.prompt_file import check

__all__ = ['adopt', 'complete', 'is_stock', 'last_checkpoint']


def complete(model: nn.Module, checkpoint: dict) -> None:
    """Check a slim checkpoint against ``model`` and fill it up with the frozen tensors, in place.

    Raises:
        ValueError: not a slim checkpoint, or one of another model; see :func:`vptx.prompt_file.check`.
    """
    facts = checkpoint.get('meta', {}).get('vptx')
    if not facts:
        raise ValueError(
            'this checkpoint was not written by a run with PromptTuningHook. Weights of the backbone are given to '
            'the network itself: backbone=dict(net=dict(weights=...)), or with a stock backbone as load_from'
        )
    source, hall = facts.get('frozen_from'), find_hall(model)
    if source and hall is not None and hall.frozen_from != source:  # a run that goes on loads no model zoo's checkpoint
        adopt(model, CheckpointLoader.load_checkpoint(source, map_location='cpu'), source)
    check(model, checkpoint['state_dict'], facts, 'the checkpoint')
    state = model.state_dict()
    checkpoint['state_dict'] = {**state, **checkpoint['state_dict']}
    if 'ema_state_dict' in checkpoint:
        whole = {f'module.{name}': value for name, value in state.items()}
        checkpoint['ema_state_dict'] = {**whole, **checkpoint['ema_state_dict']}


def is_stock(model: nn.Module, checkpoint: dict) -> bool:
    """Whether ``checkpoint`` is not of vptx, and ``model`` had a library's backbone before it was prompted."""
    hall = find_hall(model)
    own_hall = hall is None or hall.before is None or hall.before.own_hall
    return not own_hall and not checkpoint.get('meta', {}).get('vptx')


def adopt(model: nn.Module, checkpoint: dict, where: str | Path) -> None:
    """Fill ``model``, prompted, from a checkpoint of the same model without prompts, such as a model zoo's, in place.

    The backbone has to be there, whole. Of the rest, what has another shape (a head for other classes) stays as built.

    Raises:
        ValueError: no such checkpoint, or one of another backbone.
    """
    hall = find_hall(model)
    found = {n.removeprefix('module.'): t for n, t in checkpoint.get('state_dict', {}).items()}
    part = next((name for name, module in model.named_modules() if module is hall), 'backbone')
    backbone = {n.removeprefix(f'{part}.'): t for n, t in found.items() if n.startswith(f'{part}.')}
    if hall is None or not backbone:
        raise ValueError(f'{where} holds no {part}: its names do not begin with {part}., as those of a stock model')
    library = hall.net.model
    try:
        # Looked at below. The library itself resizes positions to another image size.
        lacking, strange = library.load_state_dict(backbone, strict=False)
    except RuntimeError as error:
        raise ValueError(f'{where} is of another backbone: {error}') from error
    own = dict(library.named_parameters())
    lacking = [name for name in lacking if name in own]  # buffers here are tables of indices, made with the model
    if lacking or strange:
        faults = {'lacks': lacking, 'has, without a place for it,': strange}
        told = '; '.join(f'it {fault} {", ".join(names[:5])}' for fault, names in faults.items() if names)
        raise ValueError(f'{where} is of another backbone: {told}')
    state = model.state_dict()
    rest = {n: t for n, t in found.items() if not n.startswith(f'{part}.')}
    fits = {n: t for n, t in rest.items() if n in state and state[n].shape == t.shape}
    model.load_state_dict(fits, strict=False)  # the backbone is in place, prompts are new
    left = ', '.join(name for name in rest if name not in fits)
    print_log(f'{where}: filled {part}{"".join(f", {name}" for name in fits)}; left out {left or "nothing"}', 'current')
    checkpoint['state_dict'] = model.state_dict()
    hall.frozen_from = str(where)


def last_checkpoint(work_dir: str | Path) -> Path | None:
    """What a run in ``work_dir`` goes on from, if anything, even where the pointer was lost with the process."""
    folder = Path(work_dir)
    pointer = folder / 'last_checkpoint'
    named = pointer.read_text().strip() if pointer.is_file() else ''
    if named and Path(named).is_file():
        return Path(named)
    # epoch_3.pth or iter_300.pth; the best ones hold no optimizer.
    own = [path for path in folder.glob('*_*.pth') if not path.name.startswith('best_')]
    steps = {int(p.stem.rpartition('_')[2]): p for p in own if p.stem.rpartition('_')[2].isdigit()}
    return steps[max(steps)] if steps else None
