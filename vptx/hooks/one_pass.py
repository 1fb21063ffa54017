"""The images of a run, each of them once over all ranks, in their order."""

from collections.abc import Iterable

import torch
from mmengine.runner import Runner
from torch import Tensor, nn

from vptx.trainable import unwrap_model

__all__ = ['one_pass', 'read_labels']


def one_pass(runner: Runner, split: str, number: int) -> Iterable[tuple[Tensor, Tensor]]:
    """Preprocessed images (B, 3, H, W) and how much of each class they are (B, C), of this rank's part.

    Args:
        runner: a run that has begun.
        split: ``'train'`` or ``'val'``; its own pipeline prepares the images.
        number: C.
    """
    config = dict(
        runner.cfg[f'{split}_dataloader'],
        dataset=getattr(runner, f'{split}_dataloader').dataset,
        sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
        drop_last=False,
    )
    config.pop('persistent_workers', None)
    preprocess = unwrap_model(runner.model).data_preprocessor
    for batch in runner.build_dataloader(config, seed=runner.seed):
        seen = preprocess(batch)
        yield seen['inputs'], read_labels(seen, number)


def read_labels(batch: dict, number: int) -> Tensor:
    """How much of each class the images of a preprocessed batch are, mixed ones included: (B, C)."""
    return torch.stack(
        [
            sample.gt_score.cpu()
            if 'gt_score' in sample
            else nn.functional.one_hot(sample.gt_label.cpu(), number).sum(0).float()
            for sample in batch['data_samples']
        ]
    )
