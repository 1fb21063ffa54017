"""Prompts that start from the data instead of from noise: the cheapest known gain on self-supervised backbones.

Wang et al., "Revisiting the Power of Prompt for Visual Tuning" (self-prompt tuning, SPT), ICML 2024,
https://arxiv.org/abs/2402.02382: prompts end up near the tokens of the task's images, so let them start there. Layer
after layer, with the prompts of the layers below already in place,

    P_l = sample(tokens entering layer l)    or    P_l = mean_pool(tokens entering layer l)

Park et al., "VIPAMIN: Visual Prompt Initialization via Embedding Selection and Subspace Expansion", NeurIPS 2025: each
prompt goes to the tokens whose keys are nearest to its own, and on into what no value of a token reaches,

    p <- (1 - lambda) mean(S) + lambda (I - V V^T) (p W_V) W_V^+

where S are the k tokens nearest to p by the cosine of p W_K and x W_K, and V the leading right singular vectors of
X W_V.
"""

from collections.abc import Callable, Iterable
from functools import partial
from inspect import signature
from itertools import islice

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, broadcast, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from vptx.attach import find_prompted_network
from vptx.geometry import At
from vptx.prompted import PromptedNetwork
from vptx.prompters.base import TokenPrompter, check_whole
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['POOLS', 'PromptInitHook', 'fill_from_data', 'find_pool']


#: W_K and W_V of a layer, each (D, D), for those who ask.
Weights = Callable[[], tuple[Tensor, Tensor]]


def sample(tokens: Tensor, start: Tensor, weights: Weights) -> Tensor:
    """(B, N, D) -> (P, D): tokens of all ranks' images drawn at random, without repetition while there are enough."""
    number, patches, rank = len(start), tokens.shape[1], get_rank()
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


def mean(tokens: Tensor, start: Tensor, weights: Weights) -> Tensor:
    """(B, N, D) -> (P, D): averaged over the images of all ranks, then over P neighbourhoods of positions."""
    total, images = tokens.sum(0), torch.tensor(len(tokens), device=tokens.device)
    all_reduce(total)
    all_reduce(images)
    return F.adaptive_avg_pool1d((total / images).T[None], len(start))[0].T


def vipamin(
    tokens: Tensor, start: Tensor, weights: Weights, nearest: int = 16, expansion: float = 0.1, energy: float = 0.9
) -> Tensor:
    """(B, N, D) on each rank, and prompts as they were drawn (P, D) -> (P, D).

    Args:
        nearest: k, how many tokens a prompt goes to.
        expansion: lambda, how far it leaves them, in [0, 1].
        energy: V spans this share of the squares of X W_V.
    """
    if nearest < 1 or not 0 <= expansion <= 1 or not 0 <= energy <= 1:
        raise ValueError(
            f'vipamin takes nearest of 1 or more, expansion and energy in [0, 1], not {nearest}, {expansion}, {energy}'
        )
    flat, (to_key, to_value) = tokens.flatten(0, 1), weights()
    nearness = F.normalize(start @ to_key.T, dim=1) @ F.normalize(flat @ to_key.T, dim=1).T
    # The nearest of each rank, of which there may be fewer; among them are the nearest of all.
    near, index = F.pad(nearness, (0, nearest), value=-torch.inf).topk(nearest, dim=1)
    found = F.pad(flat, (0, 0, 0, nearest))[index]
    near, found = (torch.cat(all_gather(part.contiguous()), dim=1) for part in (near, found))
    near, index = near.topk(nearest, dim=1)
    chosen = near.isfinite().to(flat.dtype)[..., None]
    match = (found.take_along_dim(index[..., None], dim=1) * chosen).sum(1) / chosen.sum(1)
    values = flat @ to_value.T
    products = values.T @ values
    all_reduce(products)
    squares, directions = torch.linalg.eigh(products)  # ascending
    squares, directions = squares.flip(0).clamp(min=0), directions.flip(1)
    reached = directions[:, squares.cumsum(0) - squares < energy * squares.sum()]
    own = start @ to_value.T
    beyond = (own - own @ reached @ reached.T) @ torch.linalg.pinv(to_value).T
    return torch.lerp(match, beyond, expansion)


POOLS: dict[str, Callable[..., Tensor]] = {'sample': sample, 'mean': mean, 'vipamin': vipamin}


def find_pool(pool: str | dict) -> Callable[..., Tensor]:
    """One of ``POOLS``, by name, or ``dict(type=name, **options)``.

    Raises:
        ValueError: an unknown name, or options that it does not take.
    """
    options = dict(pool) if isinstance(pool, dict) else dict(type=pool)
    name = options.pop('type', None)
    if name not in POOLS:
        raise ValueError(f"unknown pool '{name}'; there are {', '.join(POOLS)}")
    known = list(signature(POOLS[name]).parameters)[3:]
    if not set(options) <= set(known):
        raise ValueError(f"pool '{name}' takes {', '.join(known) or 'no options'}, not {', '.join(options)}")
    return partial(POOLS[name], **options)


@torch.no_grad()
def fill_from_data(prompted: PromptedNetwork, batches: Iterable[Tensor], pool: str | dict) -> None:
    """Fill the prompts of ``prompted`` in place, from one pass over ``batches`` for each prompted layer.

    Ranks fill their prompts together, from the images of all of them, and alike.

    Args:
        prompted: with a prompter that holds a ``PromptEmbedding``.
        batches: images (B, 3, H, W), normalised as the network wants them.
        pool: one of ``POOLS``; see ``find_pool``.

    Raises:
        ValueError: an unknown pool, a prompter whose prompts are no tokens of the network's width, or a network that
            cannot tell the weights that the pool asks for.
    """
    fill = find_pool(pool)
    prompter = prompted.prompter
    rows = getattr(getattr(prompter, 'embedding', None), 'rows', ())
    if not isinstance(prompter, TokenPrompter) or not rows or rows[0].shape[-1] != prompted.net.geometry.widths[0]:
        raise ValueError(
            f'{type(prompter).__name__} cannot start from tokens: its prompts are no tokens of width '
            f'{prompted.net.geometry.widths[0]} (a project_dim has to go)'
        )
    was_training, batches = prompted.training, list(batches)
    prompted.eval()
    prefix = prompted.net.geometry.prefix
    own = prompter.prompts
    for row, layer in zip(rows, prompter.layers, strict=False):  # shared prompts have one row: that of the first layer
        seen: list[Tensor] = []

        def listen(tokens: Tensor, at: At, layer: int = layer, seen: list[Tensor] = seen) -> Tensor:
            if at.layer == layer:
                seen.append(tokens[:, prefix:])
            return own(tokens, at)

        prompter.prompts = listen  # type: ignore[method-assign]
        try:
            for images in batches:
                prompted(images)
        finally:
            del prompter.prompts
        row.copy_(fill(torch.cat(seen), row, partial(prompted.net.key_value_weights, layer)))
    prompted.train(was_training)


@HOOKS.register_module()
class PromptInitHook(Hook):
    """Fills the prompts from a few training batches before the first iteration; a resumed run keeps its own.

    Any number of ranks starts from the same prompts, if they see the same images together.

        custom_hooks = [dict(type='PromptTuningHook', ...), dict(type='PromptInitHook', pool='mean')]

    Source: Wang et al. (SPT), ICML 2024, https://arxiv.org/abs/2402.02382; Park et al. (VIPAMIN), NeurIPS 2025.

    Args:
        pool: ``'sample'``, ``'mean'``, ``'vipamin'``, or with options ``dict(type='vipamin', nearest=16, ...)``.
        batches: how many training batches to look at, on each rank.

    Note:
        Comes after PromptTuningHook, which attaches the prompter, and before EMAHook's first update.
    """

    priority = 'VERY_HIGH'

    def __init__(self, pool: str | dict = 'sample', batches: int = 4) -> None:
        find_pool(pool)
        self.pool = pool
        self.batches = check_whole('batches', batches)

    def before_train(self, runner: Runner) -> None:
        if runner.iter > 0:
            return
        model = unwrap_model(runner.model)
        prompted = find_prompted_network(model)
        if prompted is None or prompted.attach_state is None:
            raise ValueError('PromptInitHook fills the prompts of PromptTuningHook: add that one to custom_hooks')
        data = islice(iter(runner.train_dataloader), self.batches)
        fill_from_data(prompted, (model.data_preprocessor(batch)['inputs'] for batch in data), self.pool)
        runner.logger.info(f'prompts filled from {self.batches} training batches of each process ({self.pool})')
