"""What a run has learnt, as an average over its epochs: Khattak et al., "Self-regulating Prompts" (PromptSRC), ICCV
2023, https://arxiv.org/abs/2307.06948

    sum_t w_t theta_t,    w_t = N(t; mu, sigma^2) / sum_s N(s; mu, sigma^2),    t = 1 ... T

theta_t is what trains, after epoch t. What is frozen is no part of it, so it stays as it is to the bit.
"""

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from torch import Tensor

from vptx.registry import HOOKS
from vptx.trainable import trained_names, unwrap_model

__all__ = ['GaussianAverageHook', 'gaussian_weights']


def gaussian_weights(epochs: int, mean: float, std: float) -> list[float]:
    """w_1 ... w_T, whose sum is 1."""
    away = (torch.arange(1, epochs + 1, dtype=torch.double) - mean) / std
    return torch.softmax(-away.square() / 2, dim=0).tolist()


@HOOKS.register_module()
class GaussianAverageHook(Hook):
    """After the last epoch, puts the average over all epochs into the model: the last validation, the last checkpoint,
    the prompt file and tests are of it. Until then, it changes nothing.

    The sum so far is in each checkpoint, so a run that goes on ends with the same average.

    Source: Khattak et al. (PromptSRC), ICCV 2023, https://arxiv.org/abs/2307.06948.

    Args:
        mean: mu, in epochs, counted from 1. PromptSRC: 15 of 20 for base to new, 6 of 20 for transfer, 30 of 50 for few
            shots.
        std: sigma: 1, 10 and 30 in these.

    Raises:
        ValueError: a std that is not above 0; a run that counts iterations; a checkpoint without the sum, or one of
            another average.
    """

    priority = 'NORMAL'  # before CheckpointHook

    def __init__(self, mean: float = 15.0, std: float = 1.0) -> None:
        if not std > 0:
            raise ValueError(f'std must be above 0, not {std!r}')
        self.mean, self.std = float(mean), float(std)
        self._sum: dict[str, Tensor] = {}
        self._resumed: Mapping[str, Any] | None = None

    def _settings(self, runner: Runner) -> dict[str, float]:
        return dict(mean=self.mean, std=self.std, epochs=runner.max_epochs)

    def before_train(self, runner: Runner) -> None:
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise ValueError(
                'GaussianAverageHook averages over epochs: train_cfg=dict(by_epoch=True, max_epochs=...), not a '
                f'{type(runner.train_loop).__name__}'
            )
        self._sum = {}
        if self._resumed is not None:
            record, self._resumed = self._resumed, None
            then, now = {name: record.get(name) for name in self._settings(runner)}, self._settings(runner)
            if then != now:
                raise ValueError(
                    f'{runner._load_from} holds the sum of an average with {_say(then)}, this run has {_say(now)}: '
                    'resume with the same, or begin a new run'
                )
            self._sum = dict(record['sum'])
        self._weights = gaussian_weights(runner.max_epochs, self.mean, self.std)

    def after_train_epoch(self, runner: Runner) -> None:
        state, weight = _averaged(runner), self._weights[runner.epoch]
        for name, tensor in state.items():
            value = weight * tensor.double().cpu()
            self._sum[name] = self._sum[name] + value if name in self._sum else value
        if runner.epoch + 1 == runner.max_epochs:
            for name, value in self._sum.items():
                state[name].copy_(value)
            runner.logger.info(f'the model is the average over all epochs, with {_say(self._settings(runner))}')

    def after_train(self, runner: Runner) -> None:
        if runner.epoch < runner.max_epochs:
            runner.logger.warning(
                f'the run ended after {runner.epoch} of {runner.max_epochs} epochs: the model is as the last of them '
                'left it, no average'
            )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['gaussian_average'] = dict(self._settings(runner), sum=dict(self._sum))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume:
            return
        record, begun = checkpoint.get('gaussian_average'), checkpoint['meta']['epoch'] > 0
        if not _is_record(
            record, self._settings(runner), {name: tensor.shape for name, tensor in _averaged(runner).items() if begun}
        ):
            raise ValueError(
                f'{runner._load_from} does not hold the sum of GaussianAverageHook for what trains here: it is of a '
                'run without it. Begin a new run'
            )
        self._resumed = record


def _say(settings: Mapping[str, Any]) -> str:
    return ', '.join(f'{name}={value}' for name, value in settings.items())


def _averaged(runner: Runner) -> dict[str, Tensor]:
    """What trains, without what counts."""
    model = unwrap_model(runner.model)
    state = model.state_dict()
    return {name: state[name] for name in trained_names(model) if state[name].is_floating_point()}


def _is_record(record: Any, settings: Mapping[str, Any], shapes: Mapping[str, torch.Size]) -> bool:
    """Whether it is what a checkpoint holds: numbers for these settings, and tensors of these shapes."""
    if not isinstance(record, dict) or not all(isinstance(record.get(name), (int, float)) for name in settings):
        return False
    found = record.get('sum')
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        return False
    same = {name: value.shape for name, value in found.items()} == shapes
    return same and all(bool(value.isfinite().all()) for value in found.values())
