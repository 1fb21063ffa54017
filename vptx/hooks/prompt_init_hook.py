"""Prompts that start from the data instead of from noise.

Wang et al., "Revisiting the Power of Prompt for Visual Tuning" (self-prompt tuning, SPT), ICML 2024,
https://arxiv.org/abs/2402.02382: prompts end up near the tokens of the task's images, so let them start there. Layer
after layer, with the prompts of the layers below already in place,

    P_l = sample(tokens entering layer l)    or    P_l = mean_pool(tokens entering layer l)

The cheapest known gain on self-supervised backbones.
"""

from collections.abc import Callable, Iterable
from itertools import islice

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, broadcast, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from vptx.attach import find_hall
from vptx.hooks.slim_checkpoint_hook import bare
from vptx.prompted import PromptedNetwork
from vptx.prompters.base import TokenPrompter
from vptx.registry import HOOKS

__all__ = ['POOLS', 'PromptInitHook', 'fill_from_data']


def sample(tokens: Tensor, number: int) -> Tensor:
    """(B, N, D) -> (P, D): tokens of all ranks' images drawn at random, without repetition while there are enough."""
    patches, rank = tokens.shape[1], get_rank()
    # The images of all ranks, in the order in which one process would see them: samplers deal them out in turn.
    held = all_gather(torch.tensor(len(tokens), device=tokens.device))
    images = sorted((index, owner) for owner, count in enumerate(held) for index in range(int(count)))
    total = len(images) * patches
    drawn = torch.randperm(total)[:number] if number <= total else torch.randint(total, (number,))
    drawn = drawn.to(tokens.device)
    broadcast(drawn)
    rows = tokens.new_zeros(number, tokens.shape[2])
    for row, position in zip(rows, drawn.tolist(), strict=True):
        index, owner = images[position // patches]
        if owner == rank:
            row.copy_(tokens[index, position % patches])
    all_reduce(rows)  # each row is of one rank, and zero on the others
    return rows


def mean(tokens: Tensor, number: int) -> Tensor:
    """(B, N, D) -> (P, D): averaged over the images of all ranks, then over P neighbourhoods of positions."""
    total, images = tokens.sum(0), torch.tensor(len(tokens), device=tokens.device)
    all_reduce(total)
    all_reduce(images)
    return F.adaptive_avg_pool1d((total / images).T[None], number)[0].T


POOLS: dict[str, Callable[[Tensor, int], Tensor]] = {'sample': sample, 'mean': mean}


@torch.no_grad()
def fill_from_data(hall: PromptedNetwork, batches: Iterable[Tensor], pool: str) -> None:
    """Fill the prompts of ``hall`` in place, from one pass over ``batches`` for each prompted layer.

    Ranks fill theirs together, from the images of all of them, and alike.

    Args:
        hall: with a prompter that holds a :class:`~vptx.prompters.PromptEmbedding`.
        batches: images (B, 3, H, W), normalised as the network wants them.
        pool: one of :data:`POOLS`.

    Raises:
        ValueError: an unknown pool, or a prompter whose prompts are no tokens of the network's width.
    """
    if pool not in POOLS:
        raise ValueError(f"unknown pool '{pool}'; there are {', '.join(POOLS)}")
    prompter = hall.prompter
    rows = getattr(getattr(prompter, 'embedding', None), 'rows', ())
    if not isinstance(prompter, TokenPrompter) or not rows or rows[0].shape[-1] != hall.net.geometry.widths[0]:
        raise ValueError(
            f'{type(prompter).__name__} cannot start from tokens: its prompts are no tokens of width '
            f'{hall.net.geometry.widths[0]} (a project_dim has to go)'
        )
    was_training, batches = hall.training, list(batches)
    hall.eval()
    prefix = hall.net.geometry.prefix
    own = prompter.prompts
    for row, layer in zip(rows, prompter.layers, strict=False):  # shared prompts have one row: that of the first layer
        seen: list[Tensor] = []

        def listen(tokens: Tensor, at: int, layer: int = layer, seen: list[Tensor] = seen) -> Tensor:
            if at == layer:
                seen.append(tokens[:, prefix:])
            return own(tokens, at)

        prompter.prompts = listen  # type: ignore[assignment,method-assign]
        try:
            for images in batches:
                hall(images)
        finally:
            del prompter.prompts
        row.copy_(POOLS[pool](torch.cat(seen), len(row)))
    hall.train(was_training)


@HOOKS.register_module()
class PromptInitHook(Hook):
    """Fills the prompts from a few training batches before the first iteration; a resumed run keeps its own.

    Any number of ranks starts from the same prompts, if they see the same images together.

        custom_hooks = [dict(type='PromptTuningHook', ...), dict(type='PromptInitHook', pool='mean')]

    Args:
        pool: ``'sample'`` or ``'mean'``.
        batches: how many training batches to look at, on each rank.

    Note:
        Comes after PromptTuningHook, which plugs the prompter in, and before EMAHook's first update.
    """

    priority = 'VERY_HIGH'

    def __init__(self, pool: str = 'sample', batches: int = 4) -> None:
        if pool not in POOLS:
            raise ValueError(f"unknown pool '{pool}'; there are {', '.join(POOLS)}")
        self.pool = pool
        self.batches = batches

    def before_train(self, runner: Runner) -> None:
        if runner.iter > 0:
            return
        model = bare(runner.model)
        hall = find_hall(model)
        if hall is None:
            raise ValueError(
                'PromptInitHook fills prompts that PromptTuningHook plugs in: add that one to custom_hooks'
            )
        data = islice(iter(runner.train_dataloader), self.batches)
        fill_from_data(hall, (model.data_preprocessor(batch)['inputs'] for batch in data), self.pool)
        runner.logger.info(f'prompts filled from {self.batches} training batches of each process ({self.pool})')
