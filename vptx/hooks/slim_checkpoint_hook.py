"""Checkpoints that hold what trained, and are there when they are needed."""

from collections.abc import Mapping
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import CheckpointLoader, Runner
from torch import Tensor, nn

from vptx.attach import find_hall
from vptx.prompt_file import check, describe, kept_names, write_prompt
from vptx.registry import HOOKS

__all__ = ['SafeCheckpointHook', 'SlimCheckpointHook', 'adopt', 'complete', 'is_stock', 'last_checkpoint']


def bare(model: nn.Module) -> nn.Module:
    """The model inside MMEngine's wrapper for distributed training."""
    return model.module if is_model_wrapper(model) else model  # type: ignore[return-value]


@HOOKS.register_module()
class SlimCheckpointHook(Hook):
    """Leaves in a checkpoint only what trained and what training changed, EMA included, with the facts that tell what
    it belongs to; at the end of a run writes ``prompt.safetensors``.

    :class:`~vptx.hooks.PromptTuningHook` registers it.

    Note:
        The last of all hooks, so that it slims what EMAHook has put into the checkpoint.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._facts: dict = {}
        self._tensors: Mapping[str, Tensor] = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = bare(runner.model)
        if not self._facts:
            meta = getattr(runner.train_dataloader.dataset, 'metainfo', {})
            self._facts = describe(model, runner.cfg.pretty_text, meta.get('classes') or ())
        state, names = checkpoint['state_dict'], kept_names(model)
        checkpoint['state_dict'] = self._tensors = {name: state[name] for name in names}
        broken = [name for name, tensor in self._tensors.items() if not tensor.isfinite().all()]
        if broken:
            raise FloatingPointError(
                f'at iteration {runner.iter} {", ".join(broken)} are no longer numbers: not saved. The last checkpoint '
                f'in {runner.work_dir} is good; lower the learning rate'
            )
        checkpoint['meta']['vptx'] = self._facts
        if 'ema_state_dict' in checkpoint:
            averaged = checkpoint['ema_state_dict']
            keep = {f'module.{name}' for name in names} | {'steps'}
            checkpoint['ema_state_dict'] = {name: value for name, value in averaged.items() if name in keep}

    def after_train(self, runner: Runner) -> None:
        if self._tensors and is_main_process():
            path = Path(runner.work_dir) / 'prompt.safetensors'
            write_prompt(path, self._tensors, self._facts)
            runner.logger.info(f'prompt file: {path}, {path.stat().st_size / 1024:,.0f} kB')


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
    backbone = {n.removeprefix('backbone.'): t for n, t in found.items() if n.startswith('backbone.')}
    if hall is None or not backbone:
        raise ValueError(f'{where} holds no backbone: its names do not begin with backbone., as those of a stock model')
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
    rest = {n: t for n, t in found.items() if not n.startswith('backbone.')}
    fits = {n: t for n, t in rest.items() if n in state and state[n].shape == t.shape}
    model.load_state_dict(fits, strict=False)  # the backbone is in place, prompts are new
    left = ', '.join(name for name in rest if name not in fits)
    print_log(
        f'{where}: filled backbone{"".join(f", {name}" for name in fits)}; left out {left or "nothing"}', 'current'
    )
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


class SafeCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook, but it writes the new checkpoint before it deletes the old one."""

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        keep = self.max_keep_ckpts
        if keep > 0:
            kept = [other for other in self.keep_ckpt_ids if other != step] + [step]
            self.keep_ckpt_ids.extend(kept[-keep:])
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self.max_keep_ckpts = -1
        super()._save_checkpoint_with_step(runner, step, meta)
        self.max_keep_ckpts = keep
        if keep > 0 and is_main_process():
            for old in kept[:-keep]:
                Path(self.out_dir, self.filename_tmpl.format(old)).unlink(missing_ok=True)
