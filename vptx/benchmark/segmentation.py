"""How fast a config of segmentation trains on random photographs and masks of ADE20K's size and layout."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from vptx.configs import make_runner, read_config

__all__ = ['Training', 'train_segmentor', 'write_photographs']

#: Iterations that are not timed: kernels are chosen, workers start.
WARM_UP = 10
CLASSES = 150


@dataclass
class Training:
    """What was measured of a run.

    Attributes:
        batch: images in an iteration.
        steps: seconds of each iteration after the first ones, reading of images included.
        peak: most bytes allocated on the GPU, parameters included; None on a CPU.
        losses: the first and the last.
    """

    batch: int
    steps: list[float] = field(default_factory=list)
    peak: int | None = None
    losses: list[float] = field(default_factory=list)

    def markdown(self) -> str:
        """A line of figures."""
        memory = 'not counted' if self.peak is None else f'{self.peak / 2**30:.2f} GiB'
        first, last = self.losses[0], self.losses[-1]
        return (
            f'{self.batch / median(self.steps):.2f} images/s (median of {len(self.steps)} iterations of {self.batch}), '
            f'peak memory {memory}, loss {first:.3f} to {last:.3f}.'
        )


class _Clock(Hook):
    priority = 'LOWEST'

    def __init__(self, found: Training) -> None:
        self.found = found

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 0:
            self.last = time.perf_counter()

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.found.losses.append(float((outputs or {})['loss'].detach()))  # waits for the device
        now, skipped = time.perf_counter(), min(WARM_UP, runner.max_iters // 2)
        if runner.iter >= skipped:
            self.found.steps.append(now - self.last)
        self.last = now


def write_photographs(folder: Path, number: int = 32, size: tuple[int, int] = (512, 683)) -> Path:
    """Random photographs with masks of all 150 classes, as ADE20K's training split; ``size`` is (H, W)."""
    random = np.random.default_rng(0)
    places = [folder / kind / 'training' for kind in ('images', 'annotations')]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        coarse = random.integers(0, 256, (9, 12, 3)).astype(np.uint8)
        image = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
        labels = random.integers(0, CLASSES + 1, (9, 12)).astype(np.uint8)
        mask = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(places[0] / f'ADE_train_{index:08}.jpg'), image)
        cv2.imwrite(str(places[1] / f'ADE_train_{index:08}.png'), mask)
    return folder


def train_segmentor(
    config: str | Path, data: Path, work_dir: Path, iterations: int, options: dict[str, Any], checkpointed: bool
) -> Training:
    """Train a config with random weights in bfloat16, without validation.

    Args:
        config: a file or a name, of a config on ADE20K.
        data: of ``write_photographs``.
        work_dir: of the run.
        iterations: how many.
        options: settings to override, by their path.
        checkpointed: whether each layer keeps its input alone for the backward pass.
    """
    settings = read_config(config)
    on_gpu = torch.cuda.is_available()
    settings.merge_from_dict(
        {
            'work_dir': str(work_dir),
            'launcher': 'none',
            'model.backbone.net.weights': None,
            'model.backbone.with_cp': checkpointed,
            'train_dataloader.dataset.data_root': str(data),
            'train_cfg.max_iters': iterations,
            'optim_wrapper.type': 'AmpOptimWrapper' if on_gpu else 'BFloat16OptimWrapper',
            'default_hooks.checkpoint.interval': iterations,
            'log_level': 'WARNING',
            'experiment_name': f'{work_dir.name}_{time.time_ns()}',
            **({'optim_wrapper.dtype': 'bfloat16'} if on_gpu else {}),
            **options,
        }
    )
    settings.val_cfg = settings.val_dataloader = settings.val_evaluator = None
    settings.test_cfg = settings.test_dataloader = settings.test_evaluator = None
    found = Training(settings.train_dataloader.batch_size)
    runner = make_runner(settings)
    runner.register_hook(_Clock(found))
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    runner.train()
    found.peak = torch.cuda.max_memory_allocated() if on_gpu else None
    return found
