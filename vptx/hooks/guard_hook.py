"""Stops a run that does not do what its config says."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from mmengine.dist import all_gather, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from vptx.files import Occupied, digest
from vptx.fingerprint import fingerprint
from vptx.kept import kept_names
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['GuardHook']


@HOOKS.register_module()
class GuardHook(Hook):
    """Before a run: is no other one in its work dir, and do all ranks begin alike? After the first iteration: has every
    trainable tensor received a gradient, and no frozen one? After each: is the loss a number?
    ``DataGuardHook`` looks at the data.

    ``PromptTuningHook`` registers it.

    Note:
        Comes before CheckpointHook, so the last checkpoint of a run whose loss is NaN is the last good one.

    Raises:
        ValueError: a ``save_best`` that validation does not measure.
        RuntimeError: names the tensors without a gradient, or the frozen ones that have one; another process that
            trains in the same work dir; ranks that begin at different iterations, or with different values.
        FloatingPointError: says at which iteration, and which images were in the batch.
    """

    priority = 'NORMAL'
    _occupied: Occupied | None = None

    def before_train(self, runner: Runner) -> None:
        if is_main_process():
            self._occupied = Occupied(runner.work_dir)
        _check_ranks(runner)
        parameters = dict(runner.model.named_parameters())
        self._frozen = [name for name, parameter in parameters.items() if not parameter.requires_grad]
        trains = {name for name, parameter in parameters.items() if parameter.requires_grad}
        # One that estimates gradients has nothing that could fail to arrive.
        self._waiting = trains if getattr(runner.optim_wrapper, 'needs_backward', True) else set()
        self._watches = [
            parameters[name].register_post_accumulate_grad_hook(lambda _, name=name: self._waiting.discard(name))
            for name in self._waiting
        ]

    def after_run(self, runner: Runner) -> None:
        self._occupied = None

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        if self._watches:
            self._check_gradients(runner)
        for name, value in (outputs or {}).items():
            if 'loss' in name and not isfinite(value := float(torch.as_tensor(value).detach())):
                raise FloatingPointError(
                    f'{name} is {value} at iteration {runner.iter + 1} (epoch {runner.epoch + 1}, batch '
                    f'{batch_idx + 1}: {_images(data_batch)}). The last checkpoint in {runner.work_dir} is good; '
                    'lower the learning rate, or clip gradients with optim_wrapper.clip_grad'
                )

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        for hook in runner.hooks:
            asked = getattr(hook, 'key_indicators', ()) if isinstance(hook, CheckpointHook) else ()
            lacking = [key for key in asked if key != 'auto' and key not in (metrics or {})]
            if lacking and metrics:
                raise ValueError(
                    f"save_best='{lacking[0]}': validation measures {', '.join(metrics)}, choose one of these"
                )

    def _check_gradients(self, runner: Runner) -> None:
        for watch in self._watches:
            watch.remove()
        self._watches = []
        parameters = dict(runner.model.named_parameters())
        thawed = [n for n in self._frozen if parameters[n].requires_grad or parameters[n].grad is not None]
        faults = []
        if self._waiting:
            faults.append(f'trainable, but no gradient reached {", ".join(sorted(self._waiting))}')
        if thawed:
            faults.append(f'frozen, but trained by something {", ".join(thawed)}')
        if faults:
            raise RuntimeError(f'after the first iteration: {"; ".join(faults)}. Is tune=[...] what you want to train?')


def _check_ranks(runner: Runner) -> None:
    """Refuse ranks that go on from, or have loaded, different files."""
    images = len(runner.train_dataloader.dataset)
    found = [each.tolist() for each in all_gather(torch.tensor([runner.iter, images]))]
    begins, numbers = ([each[i] for each in found] for i in range(2))
    if len(set(begins)) > 1:
        raise RuntimeError(
            f'the processes begin at iterations {", ".join(map(str, begins))}: they all have to see the same '
            f'{runner.work_dir}, on a file system that their machines share, to resume from what is in it'
        )
    if len(set(numbers)) > 1:
        raise RuntimeError(
            f'the processes have {", ".join(map(str, numbers))} training images: they all have to see the same data, '
            'so that their epochs have the same length'
        )
    if len(begins) == 1:
        return
    model = unwrap_model(runner.model)
    state, kept = model.state_dict(), kept_names(model)
    digests = digest((name, state[name]) for name in kept), fingerprint(model)
    for what, mine in zip(('what trains', 'the frozen network'), digests, strict=True):
        hashes = [bytes(each.tolist()).hex() for each in all_gather(torch.tensor(list(bytes.fromhex(mine))))]
        other = [rank for rank, each in enumerate(hashes) if each != hashes[0]]
        if other:
            raise RuntimeError(
                f'{what} begins with other values in process {", ".join(map(str, other))} than in process 0: all of '
                'them have to load the same files (checkpoint, load_from, weights), from a file system that their '
                'machines share or from equal copies, and draw random ones by the same seed'
            )


def _images(data_batch: Any) -> str:
    """The images of a batch, by path or by index, as far as its samples tell."""
    samples: Sequence = data_batch.get('data_samples', ()) if isinstance(data_batch, dict) else ()
    names = [str(getattr(s, 'img_path', None) or f'sample {getattr(s, "sample_idx", "?")}') for s in samples]
    return ', '.join(names[:8]) + (f' and {len(names) - 8} more' if len(names) > 8 else '') or 'unnamed images'
