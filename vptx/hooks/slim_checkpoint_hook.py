"""Checkpoints that hold what trained, and are there when they are needed."""

from collections import deque
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_gather, is_main_process
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.runner import Runner
from torch import Tensor

from vptx.attach import find_prompted_network
from vptx.files import loads_again
from vptx.kept import kept_names, place_of
from vptx.prompt_file import describe, names_in_file, write_prompt
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['SafeCheckpointHook', 'SlimCheckpointHook']

# Of a config: where and how a run ran, not what it trained, and credentials.
_OF_THE_RUN = ('work_dir', 'resume', 'load_from', 'launcher', 'local_rank', 'experiment_name')
_NOT_FOR_OTHERS = ('backend_args', 'file_client_args', 'init_kwargs', 'resume_settings')


@HOOKS.register_module()
class SlimCheckpointHook(Hook):
    """Leaves in a checkpoint only what trained and what training changed, EMA included, with the facts that tell what
    it belongs to; at the end of a run writes ``prompt.safetensors``, the state after the last iteration.

    ``PromptTuningHook`` registers it.

    Note:
        The last of all hooks, so that it slims what EMAHook has put into the checkpoint.

    Raises:
        FloatingPointError: names trained tensors that are no longer numbers; nothing is saved.
        ValueError: names what in the checkpoint could not be loaded again; nothing is saved.
    """

    priority = 'LOWEST'

    def __init__(self) -> None:
        self._facts: dict = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        first = not self._facts
        self._slim(runner, checkpoint)
        # Tensors can be loaded if those of the first checkpoint can; what hooks leave in the message hub may change.
        rest = checkpoint if first else {k: v for k, v in checkpoint.items() if k in ('meta', 'message_hub')}
        if is_main_process() and not loads_again(rest):
            place, found = _in_the_way(rest)
            kind = f'{type(found).__module__}.{type(found).__qualname__}'
            raise ValueError(
                f'a checkpoint with {place} = {found!r:.200} ({kind}) could not be loaded again, so it is not saved: '
                'leave there plain numbers, strings, tensors, and lists and dicts of them'
            )

    def after_train(self, runner: Runner) -> None:
        if not is_main_process():
            return
        content: dict[str, Any] = dict(state_dict=dict(unwrap_model(runner.model).state_dict()), meta={})
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):
                hook.before_save_checkpoint(runner, content)
        self._slim(runner, content)
        path = Path(runner.work_dir) / 'prompt.safetensors'
        names = names_in_file(unwrap_model(runner.model))
        write_prompt(path, {names[name]: value for name, value in content['state_dict'].items()}, self._facts)
        runner.logger.info(f'prompt file: {path}, {path.stat().st_size / 1024:,.0f} kB')

    def _slim(self, runner: Runner, checkpoint: dict) -> None:
        model = unwrap_model(runner.model)
        if not self._facts:
            meta = getattr(runner.train_dataloader.dataset, 'metainfo', {})
            text = _text(runner.cfg, find_prompted_network(model).frozen_from)
            self._facts = describe(model, text, meta.get('classes') or ())
        names = kept_names(model)
        tensors: Mapping[str, Tensor] = {name: checkpoint['state_dict'][name] for name in names}
        broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
        if broken:
            raise FloatingPointError(
                f'at iteration {runner.iter} {", ".join(broken)} are no longer numbers: not saved. The last checkpoint '
                f'in {runner.work_dir} is good; lower the learning rate'
            )
        checkpoint['state_dict'] = tensors
        checkpoint['meta']['vptx'] = dict(self._facts, at=place_of(model))
        # MMEngine puts the whole config there, and reads neither again.
        for part in (checkpoint['meta'], checkpoint.get('message_hub', {}).get('runtime_info', {})):
            if 'cfg' in part:
                part['cfg'] = self._facts['config']
        if 'ema_state_dict' in checkpoint:
            averaged = checkpoint['ema_state_dict']
            keep = {f'module.{name}' for name in names} | {'steps'}
            checkpoint['ema_state_dict'] = {name: value for name, value in averaged.items() if name in keep}


def _text(config: Config, frozen_from: str | None) -> str:
    """The text of a run's config, the same for a run that was resumed, moved, or begun with other credentials.

    Args:
        config: of the run.
        frozen_from: the model zoo's checkpoint that its frozen weights are from: its ``load_from`` initially.
    """
    config = deepcopy(config)
    for name in _OF_THE_RUN:
        config.pop(name, None)
    if frozen_from:
        config.load_from = frozen_from
    parts: list[Any] = [config]
    while parts:
        part = parts.pop()
        if isinstance(part, dict | Config):
            for name in _NOT_FOR_OTHERS:
                part.pop(name, None)
            parts += [value for _, value in part.items()]
        elif isinstance(part, list | tuple):
            parts += part
    return config.pretty_text


def _in_the_way(content: Any, place: str = '') -> tuple[str, Any]:
    """The innermost part of ``content`` that does not come back, and where in it that is."""
    parts = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list | tuple)
        else ()
    )
    for name, part in parts:
        if not loads_again(part):
            return _in_the_way(part, f'{place}.{name}' if place else f'{name}')
    return place, content


class SafeCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook, but it writes the new checkpoint before it deletes old ones.

    A checkpoint is of the moment before its validation, which a run that goes on from it repeats
    (``ResumeHook``); so it is not written again when that validation finds the best score. It holds
    the gradients that wait for the next step (``accumulative_counts``), those of each process.
    """

    _waiting: Mapping[str, Tensor] = {}

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        keep, self.max_keep_ckpts = self.max_keep_ckpts, -1
        # The new checkpoint names those that are still there: a run that is killed now deletes them when it goes on.
        kept = [other for other in getattr(self, 'keep_ckpt_ids', ()) if other != step] + [step]
        if keep > 0:
            runner.message_hub.update_info('keep_ckpt_ids', kept)
        if not runner.optim_wrapper.should_update():  # here, as all processes get here, but only the first one saves
            waiting = {n: p.grad for n, p in unwrap_model(runner.model).named_parameters() if p.grad is not None}
            self._waiting = {name: torch.stack(all_gather(gradient)).cpu() for name, gradient in waiting.items()}
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        except OSError as error:
            if error.filename is None:  # the disk was full for the pointer to the checkpoint
                error.filename = str(Path(runner.work_dir, 'last_checkpoint'))
            raise
        finally:
            self.max_keep_ckpts, self._waiting = keep, {}
        if keep > 0:
            for old in kept[:-keep]:
                if is_main_process():
                    Path(self.out_dir, self.filename_tmpl.format(old)).unlink(missing_ok=True)
            self.keep_ckpt_ids = deque(kept[-keep:], keep)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self._waiting:
            checkpoint['gradients'] = self._waiting

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        last, self.last_ckpt = self.last_ckpt, None
        super()._save_best_checkpoint(runner, metrics)
        self.last_ckpt = last
