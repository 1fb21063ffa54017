"""Checkpoints that hold what trained, and are there when they are needed."""

from collections.abc import Mapping
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from torch import Tensor

from vptx.prompt_file import describe, kept_names, write_prompt
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['SafeCheckpointHook', 'SlimCheckpointHook']


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
        model = unwrap_model(runner.model)
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
