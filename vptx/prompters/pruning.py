"""Pruning of prompts: Han et al., "E^2VPT: An Effective and Efficient Approach for Visual Prompt Tuning", ICCV 2023,
https://arxiv.org/abs/2307.13770, section 3.3

A first training learns a factor for each of P prompts and for each of their segments (``segments=16`` of
``PromptEmbedding``). The factors with the lowest importance become 0, the others 1, and
prompts are trained again from their initial values:

    importance = measure(model, batches, loss)
    prune(fresh, importance, tokens=2, segments=40)

``PruningHook`` does this in a run.

What is pruned is still there as a zero vector, whose key is W_k beta + b_k after the layer's norm: n of them act as one
prompt with log n added to its score. ``remove`` makes prompts without them, which is another function.

Importance is the average of |dloss / dfactor| in the paper; the public code averages gradients with their sign, so that
a factor that strongly lowers the loss as it grows counts as unimportant.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vptx.prompters.base import TokenPrompter
from vptx.prompters.deep import DeepPrompter, make_plain
from vptx.prompters.embedding import PromptEmbedding
from vptx.prompters.shallow import ShallowPrompter

__all__ = ['Importance', 'find_factors', 'measure', 'prune', 'remove']


class Importance(NamedTuple):
    """How much the loss depends on each prompt.

    Attributes:
        tokens: of each prompt (P,).
        segments: of each of its segments (P, S).
    """

    tokens: Tensor
    segments: Tensor


def find_factors(model: nn.Module) -> PromptEmbedding:
    """The embedding with segments in a model or a prompter.

    Raises:
        ValueError: there is none, or there are several.
    """
    found = [m for m in model.modules() if isinstance(m, PromptEmbedding) and m.segments is not None]
    if len(found) != 1:
        raise ValueError(
            f'{type(model).__name__} has {len(found)} prompters whose prompts have factors to prune by, not one: '
            "dict(type='DeepPrompter', segments=16, ...)"
        )
    return found[0]


def measure(
    model: nn.Module,
    batches: Iterable[tuple[Any, Any]],
    loss: Callable[[Any, Any], Tensor],
    signed: bool = False,
) -> Importance:
    """Average gradients of the factors over batches; nothing is changed.

    Args:
        model: prompted.
        batches: what the model takes, as images, and what the loss compares with, as labels.
        loss: of what the model gives and of labels.
        signed: whether gradients keep their sign, as in the public code, or count by size, as in the paper.

    Raises:
        ValueError: a model without factors, or no batch.
    """
    embedding = find_factors(model)
    factors = [embedding.token_mask, embedding.segment_mask]
    flags = [factor.requires_grad for factor in factors]
    sums, count = [torch.zeros_like(factor) for factor in factors], 0
    try:
        for factor in factors:
            factor.requires_grad_(True)
        for images, labels in batches:
            found = torch.autograd.grad(loss(model(images), labels), factors)
            sums = [total + (part if signed else part.abs()) for total, part in zip(sums, found, strict=True)]
            count += 1
    finally:
        for factor, flag in zip(factors, flags, strict=True):
            factor.requires_grad_(flag)
    if not count:
        raise ValueError('importance is measured on batches of images, and there is none')
    return Importance(*(total / count for total in sums))


@torch.no_grad()
def prune(prompter: nn.Module, importance: Importance, tokens: int = 0, segments: int = 0) -> None:
    """Set the factors with the lowest importance to 0 and the others to 1, and freeze them.

    Args:
        prompter: or a model with one; its other numbers stay.
        importance: of prompts of this number and with so many segments.
        tokens: how many prompts are pruned.
        segments: how many of the P * S segments.

    Raises:
        ValueError: more of them than there are; an importance of another shape.
    """
    embedding = find_factors(prompter)
    factors = embedding.token_mask, embedding.segment_mask
    for what, factor, scores, number in zip(
        ('prompts', 'segments'), factors, importance, (tokens, segments), strict=True
    ):
        if scores.shape != factor.shape:
            raise ValueError(
                f'the importance of {what} is of shape {tuple(scores.shape)}, and there are factors of shape '
                f'{tuple(factor.shape)}: measure it on prompts of the same number'
            )
        if type(number) is not int or not 0 <= number < factor.numel():
            raise ValueError(f'of {factor.numel()} {what}, 0 to {factor.numel() - 1} can be pruned, not {number!r}')
    for factor, scores, number in zip(factors, importance, (tokens, segments), strict=True):
        factor.fill_(1)
        factor.view(-1)[scores.flatten().argsort()[:number]] = 0
        factor.requires_grad_(False)


@torch.no_grad()
def remove(prompter: DeepPrompter | ShallowPrompter) -> DeepPrompter:
    """Deep prompts without those whose factor is 0, bound to the same network; factors are multiplied in.

    Attach it in the place of the other: fewer prompts cost less, which zero vectors do not.
    """
    embedding = find_factors(prompter)
    kept = embedding.token_mask != 0
    prompts = [embedding.value(row)[kept] for row in range(len(embedding.rows))]
    deep = isinstance(prompter, DeepPrompter)
    token_prompter: TokenPrompter = prompter
    shared = prompter.shared if isinstance(prompter, DeepPrompter) else False
    return make_plain(token_prompter, prompts, prompter.layers if deep else [0], shared, prompter.carry)
