"""The memory of Tip-Adapter: filled from the training images; its two numbers are chosen on validation images."""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor

from vptx.attach import find_prompted_network
from vptx.hooks.one_pass import one_pass
from vptx.mappings.tip_adapter import TipAdapterHead
from vptx.prompted import PromptedNetwork
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['TipAdapterHook', 'fill_cache']

Batches = Iterable[tuple[Tensor, Tensor]]


def fill_cache(model: torch.nn.Module, batches: Batches, validation: Batches | None = None) -> None:
    """Fill the memory of a ``TipAdapterHead`` from training images, in place.

        vptx.fill_cache(model, train_loader, val_loader)

    The method is Tip-Adapter (Zhang et al., ECCV 2022, https://arxiv.org/abs/2111.03930). If the keys train and
    ``num_images`` was left open, make the optimizer after this call.

    Args:
        model: A model to which ``vptx.attach`` has given a ``TipAdapterHead``.
        batches: Pairs of training images (B, 3, H, W), normalised as the network expects them, and labels (B,). They
            are iterated once for each of the mapping's ``epochs``, and must give the images in the same order each
            time.
        validation: The same of validation images. Alpha and beta are selected on them. Do not pass test images. With
            None, alpha and beta stay as they are; if ``search`` is set, the log says so.

    Raises:
        ValueError: The model has no such mapping, or images come in another order or in another number.
    """
    prompted = find_prompted_network(model)
    if prompted is None or not isinstance(prompted.mapping, TipAdapterHead):
        raise ValueError(f'{type(model).__name__} has no TipAdapterHead, whose memory could be filled')
    mapping, total, labels = prompted.mapping, None, torch.empty(0)
    for _ in range(mapping.epochs):
        features, found = _embed(prompted, batches)
        if total is not None and not torch.equal(found, labels):
            raise ValueError(
                'the training images came in another order in the second epoch: keys are averaged over '
                f'epochs={mapping.epochs}, so give a loader with shuffle=False'
            )
        total, labels = features if total is None else total + features, found
    assert total is not None  # there is one epoch or more
    mapping.fill(total, labels)
    if validation is not None:
        mapping.choose(*_embed(prompted, validation))
    elif mapping.search:
        print_log(
            f'without validation images alpha={mapping.alpha.item():g} and beta={mapping.beta.item():g} of '
            f'{type(mapping).__name__} stay as they were given',
            'current',
            logging.WARNING,
        )


@torch.no_grad()
def _embed(prompted: PromptedNetwork, batches: Batches) -> tuple[Tensor, Tensor]:
    """Embeddings of length 1 (N, d) and labels (N,), in eval mode.

    Raises:
        ValueError: no images.
    """
    was_training, device = prompted.training, next(prompted.parameters()).device
    prompted.eval()
    features, labels = list[Tensor](), list[Tensor]()
    for images, found in batches:
        embedded: Any = prompted.forward_unmapped(images.to(device))
        features.append(torch.nn.functional.normalize(embedded, dim=-1))
        labels.append((found.argmax(1) if found.dim() > 1 else found).to(device))
    prompted.train(was_training)
    if not features:
        raise ValueError('a memory is filled from images, and there are none')
    return torch.cat(features), torch.cat(labels)


@HOOKS.register_module()
class TipAdapterHook(Hook):
    """Fills the memory of a ``TipAdapterHead`` before training, over all ranks, by the training
    pipeline; then chooses alpha and beta on the validation images.

    ``PromptTuningHook`` registers it. A resumed run goes on with the memory that it had.

    Raises:
        ValueError: another number of training images than the mapping was made for; no validation images to choose
            alpha and beta on, or those that are the test images, on which nothing may be chosen.
    """

    priority = 'NORMAL'

    def before_train(self, runner: Runner) -> None:
        prompted = find_prompted_network(unwrap_model(runner.model))
        assert prompted is not None  # the hook that registers this one has attached it
        mapping = prompted.mapping
        if mapping.ready:
            return
        if mapping.search:
            self._check_validation(runner)
        total, labels = self._gather(runner, prompted, 'train')
        for _ in range(mapping.epochs - 1):
            total += self._gather(runner, prompted, 'train')[0]
        mapping.fill(total, labels)
        chosen = ''
        if mapping.search:
            share = mapping.choose(*self._gather(runner, prompted, 'val'))
            chosen = f', with which {share:.1%} of the validation images are classified correctly'
        runner.logger.info(
            f'{type(mapping).__name__} of {len(mapping.labels)} images, averaged over {mapping.epochs} epochs: '
            f'alpha={mapping.alpha.item():g} and beta={mapping.beta.item():g}{chosen}'
        )

    @staticmethod
    def _gather(runner: Runner, prompted: PromptedNetwork, split: str) -> tuple[Tensor, Tensor]:
        """Of all ranks, in the order of the data set."""
        number = len(getattr(runner, f'{split}_dataloader').dataset)
        device = next(prompted.parameters()).device
        features = torch.zeros(number, prompted.net.geometry.classes, device=device)
        labels = torch.zeros(number, dtype=torch.long, device=device)
        mine = slice(get_rank(), None, get_world_size())
        if len(labels[mine]):
            found, classes = _embed(prompted, one_pass(runner, split, prompted.mapping.num_classes))
            features[mine], labels[mine] = found.to(features), classes
        all_reduce(features)
        all_reduce(labels)
        return features, labels

    @staticmethod
    def _check_validation(runner: Runner) -> None:
        validation, test = (runner.cfg.get(f'{split}_dataloader') for split in ('val', 'test'))
        if validation is None:
            raise ValueError(
                'there are no validation images to choose alpha and beta on: give a val_dataloader, or alpha and beta '
                'with search=False'
            )
        if test is not None and _files(validation) == _files(test):
            raise ValueError(
                'alpha and beta would be chosen on the test images: val_dataloader and test_dataloader have the same '
                'data set. Give validation images of their own, or search=False'
            )


def _files(loader: dict) -> dict:
    """What a data set reads, however it is prepared."""
    return {key: value for key, value in loader['dataset'].items() if key != 'pipeline'}
